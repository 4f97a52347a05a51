"""Commands that only read."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from celeriac.store.memory.clock import MemoryClock
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop


def test_status_shows_each_handler(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed", retries=0, function=refuse)
    shop.on("mail.send", "order.placed")
    shop.start()
    id = shop.emit("order.placed", {"n": 1}, subject="order/1")
    shop.run_until_idle()
    answer = run("status", id)
    assert 0 == answer.exit_code
    for text in ("order.placed", "order/1", '{"n":1}', "billing.charge", "dead", "declined"):
        assert text in answer.out


def test_status_as_json(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed", retries=0, function=refuse)
    shop.start()
    id = shop.emit("order.placed", {"n_ms": 1})
    shop.run_until_idle()
    found = run("status", id, "--json").json[0]
    assert {"n_ms": 1} == found["data"]
    assert found["time_ms"] == datetime.fromisoformat(found["time"]).timestamp() * 1000
    cell = found["cells"][0]
    assert ("billing.charge", "dead", 1) == (cell["handler"], cell["state"], cell["attempts"])
    failure = cell["failures"][0]
    assert {"attempt", "at", "at_ms", "error", "life", "took_us", "worker"} == set(failure)
    assert failure["at"].endswith("Z")


def test_status_ends_with_3_where_a_handler_misses_the_event(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.backend.event_log.leave("order", "billing.charge")
    answer = run("status", shop.emit("order.placed"))
    assert 3 == answer.exit_code
    assert "missing" in answer.out


def test_status_of_an_unknown_event_ends_with_1(run: Run) -> None:
    answer = run("status", "nope")
    assert 1 == answer.exit_code
    assert answer.err.startswith("Error: event not found: nope")


def test_status_of_a_delayed_event_shows_its_time(shop: Shop, run: Run) -> None:
    answer = run("status", shop.emit("order.placed", delay=3600))
    assert "delayed to" in answer.out
    assert "in 60 min" in answer.out


def test_events_are_listed_and_filtered(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    placed, cancelled = shop.emit("order.placed"), shop.emit("order.cancelled")
    shop.run_until_idle()
    answer = run("events")
    assert placed in answer.out
    assert cancelled in answer.out
    assert "1 processed" in answer.out
    assert [cancelled] == [
        one["id"] for one in run("events", "--type", "*.cancelled", "--json").json
    ]
    assert [placed] == [one["id"] for one in run("events", "--state", "processed", "--json").json]
    assert 1 == len(run("events", "--limit", "1", "--json").json)
    assert 2 == len(run("events", "--since", "1m", "--json").json)
    assert [] == run("events", "--since", "2999-01-01", "--json").json
    assert "No events." in run("events", "--state", "dead").out


def test_events_are_found_by_what_their_subject_begins_with(shop: Shop, run: Run) -> None:
    wanted = shop.emit("order.placed", subject="order/42")
    shop.emit("order.placed", subject="order/7")
    assert [wanted] == [one["id"] for one in run("events", "--subject", "order/4", "--json").json]
    assert "order/42" in run("events", "--subject", "order/4").out


def test_dead_events_show_their_last_error(shop: Shop, run: Run) -> None:
    """In the list, with the handler, and in `--json`; those that were processed have none."""
    shop.on("billing.charge", "order.placed", retries=0, function=refuse)
    shop.on("mail.send", "order.#")
    shop.start()
    dead, fine = shop.emit("order.placed"), shop.emit("order.cancelled")
    shop.run_until_idle()
    assert "billing.charge: ValueError: declined" in run("events").out
    cells = {one["id"]: one["cells"] for one in run("events", "--json").json}
    errors = {cell["handler"]: cell["error"] for cell in cells[dead]}
    assert {"billing.charge": "ValueError: declined", "mail.send": None} == errors
    assert [None] == [cell["error"] for cell in cells[fine]]


def test_a_list_of_events_reports_where_the_search_stopped(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, so that JSON stays one document."""
    monkeypatch.setattr("celeriac.tracking.matrix.NEWEST", 3)
    for type in ("order.rare", *["order.placed"] * 5):
        shop.emit(type)
    answer = run("events", "--type", "*.rare", "--json")
    assert [] == answer.json
    assert "Searched the newest 3 events only, back to " in answer.err
    assert "--since" in answer.err
    answer = run("events", "--type", "*.rare", "--since", "1h", "--json")
    assert (1, "") == (len(answer.json), answer.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "--type", "order.["),
        ("events", "--state", "lost"),
        ("events", "--since", "soon"),
        ("events", "--limit", "0"),
        ("nothing",),
    ],
)
def test_bad_input_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    assert 2 == answer.exit_code
    assert "Error: " in answer.err


def test_lag_has_a_line_for_each_handler_and_domain(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed", "payment.due")
    shop.start()
    shop.emit("order.placed")
    lines = run("lag").out.splitlines()
    assert ["billing.charge", "order", "1"] == lines[1].split()[:3]
    found = run("lag", "--json").json
    assert {("order", 1), ("payment", 0)} == {(one["domain"], one["unfinished"]) for one in found}


def test_workers_marks_stopped_workers(shop: Shop, run: Run, clock: MemoryClock) -> None:
    assert "No workers" in run("workers").out
    shop.on("billing.charge", "order.placed")
    shop.start()
    assert [True] == [one["alive"] for one in run("workers", "--json").json]
    clock.advance(60_000)
    assert [False] == [one["alive"] for one in run("workers", "--json").json]
    assert "(gone)" in run("workers").out


def test_handlers_are_listed_with_their_workers(shop: Shop, run: Run, clock: MemoryClock) -> None:
    assert "No handlers" in run("handlers").out
    shop.on("billing.charge", "order.placed", "order.amended", retries=3)
    shop.start()
    found = run("handlers", "--json").json
    assert ["order.placed", "order.amended"] == found[0]["patterns"]
    assert [shop.services["billing"].worker] == found[0]["workers"]
    assert "retries=3" in run("handlers").out
    clock.advance(60_000)
    assert "none" in run("handlers").out


def test_output_elsewhere_than_on_a_terminal_is_neither_cut_nor_coloured(
    shop: Shop, run: Run
) -> None:
    shop.on("billing.charge", "order.#")
    shop.start()
    type = "order." + "x" * 200
    shop.emit(type)
    out = run("events").out
    assert type in out
    assert "\x1b" not in out


@pytest.mark.parametrize("command", ["events", "lag", "workers", "handlers", "doctor"])
def test_every_reading_command_prints_one_json_document(shop: Shop, run: Run, command: str) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.emit("order.placed")
    assert json.loads(run(command, "--json").out)


def test_status_and_trace_show_each_event_that_has_the_id(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    for source in ("shop", "rival"):
        shop.emit("order.placed", id="x", source=source)
    shop.run_until_idle()
    assert {"shop", "rival"} == {one["source"] for one in run("status", "x", "--json").json}
    shown = run("status", "x").out
    assert "source       shop" in shown and "source       rival" in shown
    [one] = run("status", "x", "--source", "rival", "--json").json
    assert ("rival", "processed") == (one["source"], one["cells"][0]["state"])
    assert "source       shop" not in run("status", "x", "--source", "rival").out
    answer = run("status", "x", "--source", "other")
    assert 1 == answer.exit_code and "event not found: x of the source other" in answer.err

    assert 2 == len(run("trace", "x", "--json").json)
    assert 2 == run("trace", "x").out.count("1 event, 1 delivery")
    assert 1 == run("trace", "x", "--source", "shop").out.count("1 event, 1 delivery")
