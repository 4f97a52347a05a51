"""A pull handler has what a Python handler has: commands, the matrix, explanations, findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.delivery import DeliveryState
from celeriac.flower.view.services import read_services
from celeriac.tracking import Matrix
from tests.unit.pull.conftest import INDEX, PullBus, id_of, ids_of

Run = Callable[..., str]


@pytest.fixture
def run(pull: PullBus) -> Run:
    """Run a command on the bus; return what it printed."""

    def run(*arguments: str) -> str:
        session = Session(pull.settings, pull.backend)
        result = CliRunner().invoke(main, arguments, obj=session)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result.stdout + result.stderr

    return run


def upkeep(pull: PullBus) -> None:
    for context in pull.handlers.contexts:
        context.run_maintenance()


def findings(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(run("doctor", "--json"))["findings"]
    return found


def test_it_is_listed_with_its_options_and_the_gateway_that_serves_it(
    pull: PullBus, run: Run
) -> None:
    pull.register(retries=2)
    assert "none" in run("handlers")
    pull.fetch()
    upkeep(pull)
    [listed] = msgspec.json.decode(run("handlers", "--json"))
    assert listed["id"] == INDEX
    assert listed["pull"] == {"retries": 2}
    assert [name.partition("@")[0] for name in listed["workers"]] == ["search"]


def test_its_row_follows_a_delivery_through_its_states(pull: PullBus, run: Run) -> None:
    pull.register(backoff=60)
    id = pull.emit()
    assert "waiting" in run("status", id)
    [delivery] = pull.fetch()
    assert "running" in run("status", id)
    pull.complete(delivery, "failed", error={"type": "BankError", "message": "closed"})
    assert "BankError: closed" in run("status", id)
    pull.pass_time(120)
    pull.complete(pull.fetch()[0])
    assert "processed" in run("status", id)
    totals = Matrix(pull.backend).totals()
    assert (totals.missing, totals.dead) == (0, 0)


def test_explain_names_the_missing_client_the_lease_and_the_retry(pull: PullBus, run: Run) -> None:
    pull.register(lease=500, backoff=60, jitter=0)
    id = pull.emit()
    assert "no client has fetched it in the last 30 s" in run("explain", id, INDEX)
    [delivery] = pull.fetch()
    said = run("explain", id, INDEX)
    assert "a client runs attempt 1, fetched through search@" in said
    assert "(in 8" in said, "the lease of the handler, not that of the settings"
    upkeep(pull)
    pull.complete(delivery, "failed", error="closed")
    assert "after attempt 1: AttemptFailed: closed" in run("explain", id, INDEX)
    pull.pass_time(61)
    said = run("explain", id, INDEX)
    assert "the next client that fetches gets it" in said


def test_flower_lists_it_with_the_gateway_that_serves_it(pull: PullBus) -> None:
    pull.register(description="Index orders.")
    pull.emit()
    pull.fetch()
    upkeep(pull)
    [service] = read_services(Matrix(pull.backend)).shown
    assert service.name == "search"
    assert [line.view.handler for line in service.lines] == [INDEX]
    assert [worker.pool for worker in service.workers] == ["pull"]


def test_dead_letters_are_listed_and_redriven_by_the_commands(pull: PullBus, run: Run) -> None:
    pull.register()
    pull.emit()
    [delivery] = pull.fetch()
    pull.complete(delivery, "dead", error={"type": "NoSuchUser", "message": "7"})
    assert "NoSuchUser" in run("dead", "list", "--handler", INDEX)
    run("dead", "redrive", "--handler", INDEX, "--yes")
    [again] = pull.fetch()
    assert id_of(again) == id_of(delivery)
    assert pull.complete(again).state is DeliveryState.PROCESSED


def test_the_commands_pause_and_resume_it(pull: PullBus, run: Run) -> None:
    pull.register()
    id = pull.emit()
    run("handlers", "pause", INDEX, "--reason", "deploy")
    assert pull.fetch() == []
    run("handlers", "resume", INDEX)
    pull.pass_time(1)
    assert ids_of(pull.fetch()) == [id]


def test_the_command_removes_it(pull: PullBus, run: Run) -> None:
    pull.register()
    said = run("handlers", "remove", INDEX, "--yes")
    assert f"Clients that fetch {INDEX} are refused from now on (410)" in said
    assert run("handlers").startswith("No handlers")


def test_the_doctor_misses_a_client_and_is_content_with_one(pull: PullBus, run: Run) -> None:
    pull.register()
    pull.emit()
    [found] = [f for f in findings(run) if f["check"] == "worker"]
    assert (found["level"], found["text"]) == (
        "fail", "no client fetches for search, and 1 unfinished delivery"
    )  # fmt: skip
    pull.fetch()
    upkeep(pull)
    assert {f["level"] for f in findings(run) if f["check"] in ("worker", "handler", "group")} == {
        "ok"
    }
    pull.register("search.other")
    upkeep(pull)
    pull.pass_time(20)
    pull.fetch()
    pull.pass_time(20)
    upkeep(pull)
    [found] = [f for f in findings(run) if f["check"] == "handler"]
    assert "no client has fetched search.other in the last 30 s" in found["text"]
