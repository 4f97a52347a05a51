"""What people read of deliveries that are processed in chunks."""

from __future__ import annotations

import pytest

from celeriac.cli.top.view import Watch
from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event_log import Entry
from celeriac.flower.view.event import read_event
from celeriac.flower.view.home import read_home
from celeriac.observability.metrics.snapshot import take_snapshot
from celeriac.store.memory.clock import MemoryClock
from celeriac.tracking import Matrix
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop

GROUP = Group("order", "billing.charge")
WORKER = "billing@host/1-ab"


@pytest.fixture
def ids(shop: Shop, clock: MemoryClock) -> list[str]:
    """Seven events: of a chunk of five that runs, two are processed; one is queued, one waits."""
    shop.on("billing.charge", "order.placed")
    shop.start()
    ids = [shop.emit("order.placed", {"n": n}) for n in range(7)]
    clock.advance(10)
    entries = fetch(shop, "running", 5, running=True)
    fetch(shop, "queued", 1, running=False)
    codes = [run_code(RunOutcome.PROCESSED, 1500)] * 2
    processed = [entry.id for entry in entries[:2]]
    at_ms = shop.backend.registry.now_ms()
    record = pack_runs(WORKER, at_ms, processed, codes)
    completion = ChunkCompletion(processed[-1], 2, record, counts={"processed": 2})
    assert shop.backend.chunks.complete(WORKER, GROUP, "running", completion)
    return ids


def fetch(shop: Shop, chunk: str, count: int, *, running: bool) -> tuple[Entry, ...]:
    request = ChunkRequest(GROUP, chunk, count, running)
    [fetched] = shop.backend.chunks.fetch(WORKER, [request])
    return fetched.entries


def test_status_shows_state_run_time_and_worker(run: Run, ids: list[str]) -> None:
    for id, words in (
        (ids[0], ("processed", "1.5 ms", WORKER)),
        (ids[4], ("running", WORKER)),
        (ids[5], ("queued", WORKER)),
        (ids[6], ("waiting",)),
    ):
        answer = run("status", id)
        assert 0 == answer.exit_code
        assert all(word in answer.out for word in words), answer.out
    [found] = run("status", ids[0], "--json").json
    [cell] = found["cells"]
    assert ("processed", 1, WORKER) == (cell["state"], cell["attempts"], cell["worker"])
    assert cell["took_us"] == pytest.approx(1500, rel=0.004)
    assert WORKER not in run("status", ids[6]).out


def test_events_are_listed_by_state(run: Run, ids: list[str]) -> None:
    for state, expected in (
        ("processed", ids[1::-1]), ("running", ids[4:1:-1]), ("queued", [ids[5]]),
        ("waiting", [ids[6]]), ("scheduled", []), ("missing", []), ("ignored", []),
    ):  # fmt: skip
        answer = run("events", "--state", state, "--json")
        assert expected == [one["id"] for one in answer.json], state
    assert "1 processed" in run("events").out


def test_an_event_that_the_handler_did_not_want_is_listed_as_ignored(
    shop: Shop, run: Run, ids: list[str]
) -> None:
    shop.emit("order.amended")
    assert [] == run("events", "--state", "ignored", "--json").json
    fetch(shop, "last", 10, running=True)
    completion = ChunkCompletion(shop.backend.event_log.groups("order")[0].last_delivered, 2)
    assert shop.backend.chunks.complete(WORKER, GROUP, "last", completion)
    [one] = run("events", "--state", "ignored", "--json").json
    assert ("order.amended", ["ignored"]) == (one["type"], [c["state"] for c in one["cells"]])
    [same] = run("events", "--type", "order.amended", "--json").json
    assert [] == same["cells"]


def test_lag_counts_what_is_in_chunks(shop: Shop, run: Run, ids: list[str]) -> None:
    [lag] = run("lag", "--json").json
    assert (1, 1, 3, 5, 2) == (
        lag["waiting"], lag["queued"], lag["running"], lag["unfinished"], lag["processed"],
    )  # fmt: skip
    [row] = Watch(shop.backend).view().handlers
    assert (1, 1, 3, 5) == (row.waiting, row.queued, row.running, row.lag)
    [state] = take_snapshot(shop.backend).groups
    assert (1, 1, 3) == (state.lag.waiting, state.lag.queued, state.lag.running)
    assert 5 == read_home(Matrix(shop.backend)).unfinished


def test_the_removal_of_a_handler_counts_what_it_drops(run: Run, ids: list[str]) -> None:
    answer = run("handlers", "remove", "billing.charge", input="y\n")
    assert 0 == answer.exit_code
    assert "drop 5 unfinished events?" in answer.out
    assert "5 events dropped" in answer.out


def test_doctor_sees_the_age_of_what_is_in_chunks(
    clock: MemoryClock, run: Run, ids: list[str]
) -> None:
    clock.advance(2 * 3_600_000)
    findings = run("doctor", "--json").json["findings"]
    [old] = [one["text"] for one in findings if "unfinished deliveries, the oldest" in one["text"]]
    assert "5 unfinished deliveries, the oldest 2 h old" in old


def test_the_page_of_an_event_names_the_worker(shop: Shop, ids: list[str]) -> None:
    matrix = Matrix(shop.backend)
    [processed] = read_event(matrix, ids[0], "", deep=False).parts
    [span] = processed.spans
    assert ("processed", WORKER) == (span.attempt.result, span.attempt.worker)
    assert span.attempt.ran_s == pytest.approx(0.0015, rel=0.004)
    assert "" == processed.worker
    assert processed.may_repeat
    for id in (ids[4], ids[5]):
        [part] = read_event(matrix, id, "", deep=False).parts
        assert ([], WORKER, False) == (part.spans, part.worker, part.may_repeat)
