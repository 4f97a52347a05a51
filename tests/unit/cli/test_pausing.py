"""Pausing and resuming a handler, and where one sees that it is paused."""

from __future__ import annotations

import pytest

from celeriac import Breaker
from celeriac.circuit_breaker import CircuitState
from celeriac.dead_letter import audit_log
from celeriac.store.memory.clock import MemoryClock
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop

H = "billing.charge"


@pytest.fixture(autouse=True)
def served(shop: Shop) -> None:
    shop.on(H, "order.placed")
    shop.start()


def test_a_paused_handler_is_shown_everywhere(run: Run, shop: Shop) -> None:
    event_id = shop.emit("order.placed", {"n": 1})
    answer = run("handlers", "pause", H, "--for", "15m", "--reason", "bank is closed")
    assert "paused manually" in answer.out and "in 15 min" in answer.out
    for command in (("handlers",), ("status", event_id)):
        assert "bank is closed" in run(*command).out, command
    assert f"{H} (paused)" in run("lag").out
    [found] = run("lag", "--json").json
    assert found["circuit"] == "paused"
    [found] = run("handlers", "--json").json
    assert found["circuit"]["reason"] == "bank is closed"
    found = [one for one in run("doctor", "--json").json["findings"] if one["check"] == "circuit"]
    assert [one["remedy"] for one in found] == [f"celeriac handlers resume {H}"]


def test_the_circuit_of_an_endpoint_is_paused_and_resumed_like_that_of_a_handler(
    run: Run, shop: Shop
) -> None:
    """That of webhooks has a circuit for each endpoint."""
    assert f"{H}/acme is paused" in run("handlers", "pause", f"{H}/acme").out
    found = [one for one in run("doctor", "--json").json["findings"] if one["check"] == "circuit"]
    assert [one["remedy"] for one in found] == [f"celeriac handlers resume {H}/acme"]
    assert f"{H}/acme is resumed" in run("handlers", "resume", f"{H}/acme").out


def test_resume_reports_whether_the_handler_was_paused(run: Run, shop: Shop) -> None:
    run("handlers", "pause", H)
    assert "is resumed" in run("handlers", "resume", H).out
    assert "was not paused" in run("handlers", "resume", H).out
    assert shop.backend.circuits.all() == {}


def test_who_paused_resumed_and_removed_a_handler_is_in_the_audit_log(run: Run, shop: Shop) -> None:
    run("handlers", "pause", H, "--reason", "bank is closed")
    run("handlers", "resume", H, "--reason", "bank is open")
    run("handlers", "remove", H, "--yes")
    notes = [entry.note for entry in audit_log(shop.backend)]
    assert sorted((note.did, note.what, note.reason) for note in notes) == [
        ("pause", H, "bank is closed"),
        ("remove handler", H, ""),
        ("resume", H, "bank is open"),
    ]
    assert all(note.actor and note.via == "celeriac" for note in notes)


def test_an_open_breaker_is_shown_with_its_error(run: Run, shop: Shop, clock: MemoryClock) -> None:
    shop.backend.circuits.record(
        H, Breaker(failures=1, recovery_timeout=60), 1, 1, "ConnectionError: down"
    )
    assert "ConnectionError: down" in run("doctor").out
    assert "circuit breaker (open)" in run("handlers").out
    clock.advance(61_000)
    shop.backend.circuits.probe(H, "w", 1000)
    assert "one trial event" in run("handlers").out


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_unknown_handler_is_refused(run: Run, command: str) -> None:
    answer = run("handlers", command, "billing.charg")
    assert answer.exit_code == 1
    assert H in answer.err


@pytest.mark.parametrize("duration", ["", "0s", "soon", "-5m"])
def test_a_mistaken_duration_is_refused(run: Run, duration: str) -> None:
    answer = run("handlers", "pause", H, f"--for={duration}")
    assert answer.exit_code == 2
    assert "15m" in answer.err


def test_removing_a_handler_forgets_its_pause(run: Run, shop: Shop) -> None:
    run("handlers", "pause", H)
    run("handlers", "remove", H, "--yes")
    assert shop.backend.circuits.get(H).state is CircuitState.CLOSED
