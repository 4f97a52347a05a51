"""celeriac explain: what is printed, and what is refused."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner

from celeriac.cli.plugin import bus as plugin
from celeriac.service import Service
from celeriac.store.memory.clock import MemoryClock
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop

CODE = """
from celery import Celery
from celeriac import Event, EventBus

app = Celery("billing")
bus = EventBus(app, service="billing")

@bus.on("order.placed", when=lambda event: event.data["cents"] > 100)
def charge(event: Event) -> None:
    raise AssertionError("explain ran the handler")

@bus.on("order.#")
def book(event: Event) -> None:
    raise AssertionError("explain ran the handler")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "explained_billing.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "explained_billing", raising=False)
    return "explained_billing"


def test_each_check_is_a_line_and_the_deciding_one_is_marked(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.*", retries=0, function=refuse)
    shop.start()
    id = shop.emit("order.placed", subject="order/1")
    shop.run_until_idle()
    answer = run("explain", id, "billing.charge")
    assert 0 == answer.exit_code
    title, *lines = answer.out.splitlines()
    assert "order.placed order/1 → billing.charge" == title
    assert [line[:17].strip() for line in lines[:-2]] == [
        "✓ emitted", "✓ registered", "✓ pattern", "✓ addressed", "✓ subscribed"
    ]  # fmt: skip
    assert lines[-2].startswith("▶ ✗ dead         dead letter order/")
    assert lines[-1].strip().startswith("→ celeriac dead redrive order/")


def test_an_event_that_is_nowhere_is_one_error(shop: Shop, run: Run) -> None:
    """One row for all handlers with the same reason."""
    shop.on("billing.charge", "order.*", function=refuse)
    shop.on("billing.book", "order.*", function=refuse)
    shop.start()
    shop.emit("order.placed")
    answer = run("explain", "nope")
    assert answer.exit_code == 1
    assert answer.err.count("event not found: nope") == 1
    assert "billing" not in answer.out


def test_at_80_columns_text_wraps_and_a_command_stays_whole(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.cli.show.UNBOUNDED", 80)
    shop.on("billing.charge", "order.*", when=lambda event: False)
    shop.start()
    id = shop.emit("order.placed", subject="order/1")
    shop.run_until_idle()
    lines = run("explain", id, "billing.charge").out.splitlines()
    assert all(len(line) <= 80 for line in lines if "→" not in line)
    assert any("celeriac replay billing.charge --since" in line for line in lines)


def test_without_a_handler_each_handler_has_what_decides(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "payment.*")
    shop.on("mail.send", "order.*")
    shop.start()
    id = shop.emit("order.placed")
    shop.run_until_idle()
    found = run("explain", id, "--json").json
    assert {"billing.charge": "pattern", "mail.send": "processed"} == {
        one["handler"]: one["decision"] for one in found
    }
    out = run("explain", id).out
    assert 'segment 1 is "order", the pattern wants "payment"' in out


def test_an_entry_can_be_explained(shop: Shop, run: Run) -> None:
    shop.on("mail.send", "order.*")
    shop.start()
    id = shop.emit("order.placed")
    [entry] = shop.backend.event_log.read("order")
    [found] = run("explain", f"order/{entry.id}", "mail.send", "--json").json
    assert (id, "waiting", "fetched") == (found["id"], found["state"], found["decision"])
    missing = run("explain", "order/1-1", "mail.send", "--json").json[0]
    assert "emitted" == missing["decision"]


def test_an_event_is_explained_before_it_is_emitted(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.paid")
    shop.on("mail.send", "order.*")
    shop.start()
    described = ("explain", "--type", "order.placed", "--data", '{"n": 1}')
    found = {one["handler"]: one for one in run(*described, "--json").json}
    assert "pattern" == found["billing.charge"]["decision"]
    assert "delivered" == found["mail.send"]["decision"]
    answer = run(*described, "mail.send")
    assert "▶ ✓ delivered    would be delivered through the queue mail" in answer.out
    addressed = run(*described, "--handlers", "billing.charge", "mail.send", "--json").json[0]
    assert "addressed" == addressed["decision"]
    assert 0 == shop.backend.event_log.length("order")


@pytest.mark.parametrize(("cents", "decision"), [(100, "when"), (101, "worker")])
def test_with_the_code_its_when_runs_before_anything_is_emitted(
    run: Run, module: str, cents: int, decision: str
) -> None:
    data = f'{{"cents": {cents}}}'
    answer = run("explain", "--type", "order.placed", "--data", data, "-A", module, "--json")
    found = {one["handler"]: one for one in answer.json}
    assert decision == found["billing.charge"]["decision"]
    assert "worker" == found["billing.book"]["decision"]
    registered = found["billing.charge"]["checks"][0]
    assert "no worker has started with it yet" in registered["text"]


def test_with_the_code_its_when_runs_on_an_event_that_was_not_fetched(
    shop: Shop, run: Run, module: str
) -> None:
    shop.on("billing.charge", "order.placed", when=lambda event: True)
    shop.start()
    id = shop.emit("order.placed", {"cents": 1})
    [found] = run("explain", id, "billing.charge", "-A", module, "--json").json
    assert ("waiting", "when") == (found["state"], found["decision"])


def test_the_plugin_of_celery_has_the_code_of_its_app(
    shop: Shop, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = importlib.import_module(module).app
    monkeypatch.setattr(Service, "override", shop.backend)
    described = ["explain", "--type", "order.placed", "--data", '{"cents": 1}']
    result = CliRunner().invoke(
        plugin, [*described, "billing.charge"], obj=types.SimpleNamespace(app=app)
    )
    assert "when= rejects it" in result.output


def test_an_error_in_when_shows_no_data(run: Run, module: str) -> None:
    data = ("--data", '{"card": "4111"}')
    answer = run("explain", "--type", "order.placed", *data, "-A", module, "billing.charge")
    assert "when= raised KeyError" in answer.out
    assert "4111" not in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "The event is missing. Pass EVENT_ID, or --type and --data."),
        (("a", "b", "--data", "{}"), "--type is missing"),
        (("a", "b", "--type", "order.placed"), "Pass HANDLER only"),
        (("--type", "order..placed"), "type"),
        (("--type", "order.placed", "--data", "{"), "Invalid value for JSON: "),
        (("--type", "order.placed", "--data", "Hello"), "Write a text with its double quotes"),
        (("a", "-A", "no.such.module"), "module not found: no.such.module"),
    ],
)
def test_wrong_usage_is_refused_with_the_remedy(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    answer = run("explain", *arguments)
    assert 2 == answer.exit_code
    assert message in answer.err


def test_without_handlers_there_is_nothing_to_explain(run: Run, clock: MemoryClock) -> None:
    answer = run("explain", "--type", "order.placed")
    assert 1 == answer.exit_code
    assert "No handler is registered" in answer.err
