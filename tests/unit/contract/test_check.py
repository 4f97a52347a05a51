"""Which pairs a check judges, and which changes it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from celeriac.contract.check import CheckInputs, RunningReader
from celeriac.contract.lock import (
    InvalidLock,
    Lock,
    LockedContract,
    LockedReader,
    decode_lock,
    encode_lock,
    merged,
    read_locks,
    without,
)
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema

pytest.importorskip("jsoncompat")


class Cents(msgspec.Struct):
    cents: int


class Amount(msgspec.Struct):
    amount: int


def locked(model: Any, version: int = 1, owner: str = "orders") -> LockedContract:
    schema = written_schema(model)
    return LockedContract(version=version, digest=digest(schema), owner=owner, schema=schema)


def orders(*contracts: LockedContract) -> Lock:
    return Lock(service="orders", contracts={"order.placed": contracts})


def billing(model: Any, **more: Any) -> Lock:
    reads = LockedReader(patterns=("order.placed",), schema=read_schema(model), **more)
    return Lock(service="billing", readers={"billing.charge": reads})


def test_a_new_version_is_judged_against_the_readers_of_other_services() -> None:
    sources = CheckInputs(
        code=orders(locked(Amount, 2)),
        files={"orders": orders(locked(Cents)), "billing": billing(Cents)},
    )
    (found,) = sources.judge().breaks
    assert ("order.placed v2", "billing.charge") == (found.writer.title, found.reader.handler)
    assert "lock of billing" == found.reader.found_in
    assert [] == sources.changed()


def test_a_version_of_the_commit_is_judged_against_the_code() -> None:
    own = billing(Amount)
    sources = CheckInputs(
        code=own,
        annotations={"billing.charge": lambda _: Amount},
        files={"orders": orders(locked(Amount, 2)), "billing": billing(Cents)},
        before={"orders": orders(locked(Cents))},
        before_name="git:main",
    )
    (found,) = sources.judge().breaks
    assert ("order.placed v1", "git:main") == (found.writer.title, found.writer.found_in)
    assert "code" == found.reader.found_in
    assert '{"cents":1}' == found.example


def test_a_version_with_another_schema_is_changed() -> None:
    sources = CheckInputs(code=orders(locked(Amount)), files={"orders": orders(locked(Cents))})
    (found,) = sources.changed()
    assert ("order.placed", 1, "lock of orders") == (found.type, found.version, found.found_in)
    assert ("field cents removed", "field amount added: integer") == found.changes


def test_running_workers_of_older_code_are_judged_too_and_named() -> None:
    old = billing(Cents).readers["billing.charge"]
    new = LockedReader(
        patterns=("order.placed",),
        versions={"order.placed": 2},
        upcasts={"order.placed": (1,)},
        schema=read_schema(Amount),
    )
    sources = CheckInputs(
        code=orders(locked(Cents), locked(Amount, 2)),
        files={"billing": Lock(service="billing", readers={"billing.charge": new})},
        running=[
            RunningReader("billing.charge", old, ("w1", "w2")),
            RunningReader("billing.charge", new, ("w3",)),
        ],
    )
    judgement = sources.judge()
    (found,) = judgement.breaks
    assert (("w1", "w2"), "registry") == (found.reader.workers, found.reader.found_in)
    assert ("w3",) in {reader.workers for _, reader in judgement.fine}


def test_pairs_of_other_services_alone_are_their_own_affair() -> None:
    others = {"orders": orders(locked(Amount)), "billing": billing(Cents)}
    mine = Lock(service="shipping")
    assert [] == CheckInputs(code=mine, files=others).judge().breaks
    assert 1 == len(CheckInputs(files=others).judge().breaks)


def test_versions_that_left_the_code_stay_in_the_lock_until_they_are_forgotten() -> None:
    lock = merged(orders(locked(Amount, 2)), orders(locked(Cents)))
    assert [(1, True), (2, False)] == [
        (one.version, one.removed) for one in lock.contracts["order.placed"]
    ]
    assert lock == merged(orders(locked(Amount, 2)), lock)
    left = without(lock, "order.placed", [1, 2])
    assert [2] == [one.version for one in left.contracts["order.placed"]]
    assert {} == without(merged(Lock(service="orders"), lock), "order.placed", [1, 2]).contracts


def test_a_lock_is_read_as_it_was_written() -> None:
    lock = orders(locked(Cents))
    assert lock == decode_lock(encode_lock(lock), "orders.json")
    assert encode_lock(lock) == encode_lock(decode_lock(encode_lock(lock), "orders.json"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[:-20], "truncated"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "its format is 2"),
        (lambda text: text.replace('"integer"', '"string"'), "does not match its schema"),
        (lambda text: text.replace("order.placed", "order..placed"), "empty segment"),
        (lambda text: "[]", "Expected `object`"),
    ],
)
def test_a_broken_lock_is_refused_by_name(change: Any, reason: str) -> None:
    text = encode_lock(orders(locked(Cents))).decode()
    with pytest.raises(InvalidLock) as raised:
        decode_lock(change(text).encode(), "contracts/orders.json")
    message = str(raised.value)
    assert message.startswith("contracts/orders.json is not a valid lock file: ")
    assert reason in message
    assert "celeriac contracts lock" in message


def test_two_locks_of_one_service_are_refused() -> None:
    raw = encode_lock(orders(locked(Cents)))
    with pytest.raises(InvalidLock, match="b is a second lock file of orders"):
        read_locks({"a": raw, "b": raw})
