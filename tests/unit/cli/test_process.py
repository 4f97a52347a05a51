"""The commands for processes: list, show, abort, remind, and their instances in a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac import EventBus, Settings
from celeriac.cli.root import main
from celeriac.dead_letter import audit_log
from celeriac.dispatcher.groups import join
from celeriac.event import build_event, decode, encode
from celeriac.process import create_processes
from tests.unit.process.shop import fulfilment

HANDLER = "orders.fulfilment"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    create_processes(create_engine(url, poolclass=NullPool))
    monkeypatch.setenv("CELERIAC_OUTBOX_URL", url)
    return url


@pytest.fixture
def live(settings: Settings, url: str) -> EventBus:
    live = EventBus(service="orders", redis_url=settings.redis_url, namespace=settings.namespace)
    live.process(fulfilment(create_engine(url, poolclass=NullPool)))
    return live


def handle(live: EventBus, type: str, key: str, data: object = None, id: str | None = None) -> None:
    """Handle an event as a worker does."""
    handler = live.service.handlers[HANDLER]
    assert handler.receiver is not None
    event = build_event(type, data, source="shop", subject=key, id=id)
    handler.receiver(decode(encode(event)))


def run(settings: Settings, *arguments: str, input: str | None = None) -> Result:
    given = ["--redis-url", settings.redis_url, "--namespace", settings.namespace, *arguments]
    return CliRunner().invoke(main, given, input=input)


def test_instances_are_listed_by_status_and_process(settings: Settings, live: EventBus) -> None:
    for number in range(3):
        handle(live, "order.placed", f"order-{number}", {"cents": number})
    handle(live, "payment.failed", "order-1")
    shown = run(settings, "process", "list").stdout
    assert "order-0" in shown and "order-2" in shown and "order-1" not in shown
    assert "2 open, 0 completed, 1 aborted" in shown
    shown = run(settings, "process", "list", HANDLER, "--status", "aborted").stdout
    assert "order-1" in shown and "payment.failed" in shown
    rows = json.loads(run(settings, "process", "list", "--status", "all", "--json").stdout)
    assert [(row["key"], row["status"]) for row in rows] == [
        ("order-0", "open"), ("order-1", "aborted"), ("order-2", "open"),
    ]  # fmt: skip
    assert rows[0]["timers"] == ["unpaid"]
    assert run(settings, "process", "list", "--before", "1h", "--json").stdout.strip() == "[]"


def test_an_instance_is_shown_as_a_timeline(settings: Settings, live: EventBus) -> None:
    handle(live, "order.placed", "order-0", {"cents": 990})
    handle(live, "payment.captured", "order-0")
    shown = run(settings, "process", "show", HANDLER, "order-0").stdout
    for text in (
        f"{HANDLER} order-0 is open",
        "stock.returned, payment.refund",
        '{"cents":990,"paid":true,"picked":false}',
        "emits payment.asked",
        "sets unpaid at ",
        "removes unpaid",
    ):
        assert text in shown
    found = json.loads(run(settings, "process", "show", HANDLER, "order-0", "--json").stdout)
    assert found["state"] == {"cents": 990, "paid": True, "picked": False}
    assert [step["event_type"] for step in found["steps"]] == ["order.placed", "payment.captured"]
    assert found["steps"][1]["forgotten"] == ["unpaid"]
    result = run(settings, "process", "show", HANDLER, "unknown")
    assert (result.exit_code, "instance not found" in result.stderr) == (1, True)


def test_sensitive_names_are_masked(
    settings: Settings, live: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERIAC_SENSITIVE", "cents")
    handle(live, "order.placed", "order-0", {"cents": 990})
    found = json.loads(run(settings, "process", "show", HANDLER, "order-0", "--json").stdout)
    assert found["state"]["cents"] == "***"


def test_abort_emits_undo_events_through_the_process(settings: Settings, live: EventBus) -> None:
    handle(live, "order.placed", "order-0", {"cents": 990})
    declined = run(settings, "process", "abort", HANDLER, "order-0", "--reason", "fraud", input="n")
    assert declined.exit_code == 1
    assert "emit 1 undo event?" in declined.stdout
    result = run(settings, "process", "abort", HANDLER, "order-0", "--reason", "fraud", "--yes")
    assert result.exit_code == 0
    [entry] = live.service.backend.event_log.read("process", count=10)
    event = decode(entry.body or b"")
    assert (event.type, event.handlers) == ("process.abort_requested", (HANDLER,))
    assert event.id == result.stdout.strip()
    handler = live.service.handlers[HANDLER]
    assert handler.receiver is not None
    handler.receiver(event)
    found = json.loads(run(settings, "process", "show", HANDLER, "order-0", "--json").stdout)
    assert (found["status"], found["reason"]) == ("aborted", "fraud")
    assert found["steps"][-1]["emitted"][0]["type"] == "payment.refund"
    again = run(settings, "process", "abort", HANDLER, "order-0", "--reason", "x", "--yes")
    assert (again.exit_code, "aborted already" in again.stderr) == (1, True)
    notes = [(entry.note.did, entry.note.reason) for entry in audit_log(live.service.backend)]
    assert notes == [("abort", "fraud")]


def test_remind_lets_a_timer_expire_now(settings: Settings, live: EventBus) -> None:
    handle(live, "order.placed", "order-0", {"cents": 990})
    wrong = run(settings, "process", "remind", HANDLER, "order-0", "late", "--yes")
    assert "timer is not set: late" in wrong.stderr and "Its timers: unpaid" in wrong.stderr
    result = run(settings, "process", "remind", HANDLER, "order-0", "unpaid", "--yes")
    assert result.stdout == "unpaid expires now\n"
    assert run(settings, "relay", "--once").stdout == "2 events published\n"
    [entry] = live.service.backend.event_log.read("process", count=10)
    handler = live.service.handlers[HANDLER]
    assert handler.receiver is not None
    handler.receiver(decode(entry.body or b""))
    found = json.loads(run(settings, "process", "show", HANDLER, "order-0", "--json").stdout)
    assert found["reason"] == "not paid in a day"


def test_missing_tables_and_a_missing_database_are_explained(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELERIAC_OUTBOX_URL", raising=False)
    result = run(settings, "process", "list")
    assert (result.exit_code, "CELERIAC_OUTBOX_URL" in result.stderr) == (2, True)
    empty = f"sqlite:///{tmp_path / 'empty.sqlite'}"
    result = run(settings, "process", "list", "--database", empty)
    assert result.exit_code == 2
    assert "the table celeriac_process is missing. Create it" in result.stderr


def test_a_trace_names_the_instance_and_its_status(settings: Settings, live: EventBus) -> None:
    backend = live.service.backend
    backend.event_log.register_domains(["order"])
    join(backend, list(live.service.handlers.values()), frozenset({"order"}))
    live.emit("order.placed", {"cents": 1}, id="e1", subject="order-0")
    handle(live, "order.placed", "order-0", {"cents": 1}, id="e1")
    assert f"{HANDLER}  order-0 open" in run(settings, "trace", "e1").stdout
    [tree] = json.loads(run(settings, "trace", "e1", "--json").stdout)
    assert [(i["handler"], i["key"], i["status"]) for i in tree["instances"]] == [
        (HANDLER, "order-0", "open")
    ]


def test_a_trace_needs_no_database(
    settings: Settings, live: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = live.service.backend
    backend.event_log.register_domains(["order"])
    join(backend, list(live.service.handlers.values()), frozenset({"order"}))
    live.emit("order.placed", {"cents": 1}, id="e1", subject="order-0")
    monkeypatch.setenv("CELERIAC_OUTBOX_URL", "sqlite:////nonexistent/no.sqlite")
    result = run(settings, "trace", "e1")
    assert result.exit_code == 0
    assert f"{HANDLER}  order-0" in result.stdout
    assert "the status of processes is unknown" in result.stderr
