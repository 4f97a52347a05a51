"""The simulated provider and warehouse remember what was done, across processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from handlers import warehouse
from handlers.gateway import (
    DECLINED_CARD,
    GOOD_CARD,
    UNKNOWN_CARD,
    CardDeclined,
    UnknownCard,
    charge,
    payments,
    refund,
    repair,
)
from handlers.sandbox import Cancelled, Sandbox

ROOT = Path(__file__).parents[3]
ADD = "from handlers.sandbox import Sandbox; [Sandbox('x').do(str(n)) for n in range(20)]"


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the database of the providers, on each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/made/sandbox.sqlite"
    else:
        url = request.getfixturevalue("postgres_url").replace("postgresql:", "postgresql+psycopg:")
    monkeypatch.setenv("SANDBOX_URL", url)
    return url


def test_an_operation_is_done_once_and_undone_once() -> None:
    sandbox = Sandbox("x")
    sandbox.do("a")
    sandbox.do("a")
    assert (sandbox.is_done("a"), sandbox.counts()["done"]) == (True, 1)
    assert [sandbox.cancel("a"), sandbox.cancel("a")] == [True, True]
    assert not sandbox.is_done("a")
    sandbox.do("a")  # a repetition of the first call, whose answer was lost
    assert sandbox.counts() == {"done": 0, "undone": 1, "cancelled": 0}


def test_an_operation_that_was_cancelled_before_is_never_done() -> None:
    sandbox = Sandbox("x")
    assert not sandbox.cancel("a")
    with pytest.raises(Cancelled, match="x a is cancelled"):
        sandbox.do("a")
    assert sandbox.counts() == {"done": 0, "undone": 0, "cancelled": 1}


def test_kinds_are_separate() -> None:
    Sandbox("x").do("a")
    assert not Sandbox("y").is_done("a")


def test_processes_share_it() -> None:
    running = [subprocess.Popen([sys.executable, "-c", ADD], cwd=ROOT) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert Sandbox("x").counts()["done"] == 20


def test_a_refunded_payment_has_a_receipt_only_if_the_card_was_charged() -> None:
    assert charge(GOOD_CARD, 1, payment="order/1") == refund("order/1") == "receipt-order/1"
    assert refund("order/2") is None
    with pytest.raises(CardDeclined, match="payment order/2 is cancelled"):
        charge(GOOD_CARD, 1, payment="order/2")


def test_an_unknown_card_is_charged_after_the_repair() -> None:
    with pytest.raises(UnknownCard):
        charge(UNKNOWN_CARD, 1, payment="order/1")
    repair()
    repair()
    assert charge(UNKNOWN_CARD, 1, payment="order/1") == "receipt-order/1"


def test_a_declined_card_is_not_charged() -> None:
    with pytest.raises(CardDeclined, match="insufficient funds"):
        charge(DECLINED_CARD, 1, payment="order/1")
    assert payments.counts()["done"] == 0


def test_only_a_reserved_item_is_sent() -> None:
    with pytest.raises(warehouse.Unavailable, match="no item is reserved for order/1"):
        warehouse.send("SKU-000001", order="order/1")
    warehouse.reserve("SKU-000001", order="order/1")
    assert warehouse.send("SKU-000001", order="order/1") == "CEL000000001"
    assert warehouse.release("order/1")
    with pytest.raises(warehouse.Unavailable, match="no item is reserved"):
        warehouse.send("SKU-000001", order="order/1")
