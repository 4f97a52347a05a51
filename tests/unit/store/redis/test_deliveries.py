"""What the ledger on Redis has to withstand and the one in memory cannot meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError

from celeriac.delivery import Ask, Failure, FlowControl, Lane, Outcome, Settled
from celeriac.settings import Settings
from celeriac.store.redis.deliveries import RedisLedger
from celeriac.store.redis.event_log import RedisLog

LANE = Lane("order", "billing.charge")
ORDERED = Lane("order", "billing.ledger", FlowControl(ordered=True, concurrency=1))


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return replace(settings, redis_url=f"{settings.redis_url}?protocol={request.param}")


@pytest.fixture
def log(settings: Settings) -> RedisLog:
    log = RedisLog(settings)
    for lane in (LANE, ORDERED):
        log.join(lane.domain, lane.handler, "0")
    return log


@pytest.fixture
def ledger(settings: Settings) -> RedisLedger:
    return RedisLedger(settings)


def event(event_id: str) -> bytes:
    return b'{"id": "%s", "subject": "s"}' % event_id.encode()


def take(ledger: RedisLedger, lane: Lane, *, over: bool = False) -> dict[str, bytes | None]:
    ledger.lease_ms = 0 if over else 30_000
    [taken] = ledger.take("w1", [Ask(lane, 100, sweep=over)])
    return {delivery.entry: delivery.body for delivery in taken.deliveries}


def test_a_life_from_the_log_to_the_matrix(log: RedisLog, ledger: RedisLedger) -> None:
    entry = log.append("order", event("a"))
    assert {entry: event("a")} == take(ledger, LANE)
    pending = ledger.pending(LANE, entry)
    assert pending is not None and ("queued:w1", 0) == (pending.owner, pending.attempts)
    [claimed] = ledger.claim("w1", LANE, [(entry, "a")], 3)
    said = Settled(entry, "a", claimed.attempt, Outcome.RETRY, took_us=5)
    assert [] == ledger.finish("w1", LANE, [said], mean_us=5)
    pending = ledger.pending(LANE, entry)
    assert pending is not None and pending.due_ms is not None
    assert 1 == ledger.due(LANE)
    assert [entry] == list(take(ledger, LANE))
    [claimed] = ledger.claim("w1", LANE, [(entry, "a")], 3)
    assert [] == ledger.finish(
        "w1", LANE, [msgspec.structs.replace(said, attempt=2, outcome=Outcome.DEAD)]
    )
    [letter] = ledger.dead("order")
    assert letter == ledger.dead_letter("order", letter.id)
    assert event("a") == letter.event
    [row] = ledger.rows(LANE, ["a"])
    assert row is not None and 2 == row.attempt
    counts = {"retry": 1, "dead": 1, "busy_us": 10, "mean_us": 5}
    assert counts.items() <= ledger.stats(LANE).items()


def test_a_log_entry_without_an_event_is_taken_as_empty_and_buried(
    log: RedisLog, ledger: RedisLedger
) -> None:
    entry = log.client.xadd(log.keys.events("order"), {"data": "x"}).decode()
    for lane in (LANE, ORDERED):
        assert {entry: b""} == take(ledger, lane)
        assert {entry: b""} == take(ledger, lane, over=True)
        ledger.bury_invalid("w1", lane, entry, "no event")
        assert {} == take(ledger, lane, over=True)
    assert [b""] == [letter.event for letter in ledger.dead("order")]


def test_what_is_begun_is_finished_by_a_server_that_forgot_the_scripts(
    log: RedisLog, ledger: RedisLedger
) -> None:
    entry = log.append("order", event("a"))
    take(ledger, LANE)
    [claimed] = ledger.claim("w1", LANE, [(entry, "a")], 3)
    ledger.client.script_flush()
    said = [Settled(entry, "a", claimed.attempt, Outcome.PROCESSED)]
    assert [] == ledger.begin_finish("w1", LANE, said)()
    assert None is ledger.pending(LANE, entry)


@pytest.mark.parametrize("before", ["queued", "running", "due"])
@pytest.mark.parametrize("lane", [LANE, ORDERED], ids=["plain", "ordered"])
def test_what_another_hand_deleted_is_told_once_and_closes_no_lane(
    log: RedisLog, ledger: RedisLedger, lane: Lane, before: str
) -> None:
    entry, following = log.append("order", event("a")), log.append("order", event("b"))
    take(ledger, lane)
    if before != "queued":
        ledger.claim("w1", lane, [(entry, "a")], 3)
    if before == "due":
        ledger.finish("w1", lane, [Settled(entry, "a", 1, Outcome.RETRY)])
    log.client.xdel(log.keys.events("order"), entry)
    taken = take(ledger, lane, over=True)
    assert taken[entry] is None
    assert None is ledger.pending(lane, entry)
    taken |= take(ledger, lane)
    assert event("b") == taken[following]
    assert entry not in take(ledger, lane, over=True)


def test_what_another_hand_deleted_is_not_claimed_but_left_for_the_sweep(
    log: RedisLog, ledger: RedisLedger
) -> None:
    entry = log.append("order", event("a"))
    take(ledger, LANE)
    log.client.xdel(log.keys.events("order"), entry)
    assert [] == ledger.claim("w1", LANE, [(entry, "a")], 3)
    assert {entry: None} == take(ledger, LANE, over=True)


@pytest.mark.parametrize("deleted", ["1000-0", "2000-0", "3000-0"])
def test_of_a_chunk_the_entry_that_another_hand_deleted_is_not_claimed(
    log: RedisLog, ledger: RedisLedger, deleted: str
) -> None:
    """XCLAIM would drop it unseen. The ends of the log do not tell that its middle has a hole."""
    pairs = [("1000-0", "a"), ("2000-0", "b"), ("3000-0", "c")]
    for entry, event_id in pairs:
        log.client.xadd(log.keys.events("order"), {"event": event(event_id)}, id=entry)
    take(ledger, LANE)
    log.client.xdel(log.keys.events("order"), deleted)
    # alone, and after those that are there
    alone = [pair for pair in pairs if pair[0] == deleted]
    for hinted in (alone, pairs):
        claimed = [one.entry for one in ledger.claim("w1", LANE, hinted, 3)]
        assert claimed == [entry for entry, _ in hinted if entry != deleted]
    assert take(ledger, LANE, over=True)[deleted] is None


def test_one_removed_handler_asked_alone_is_told_so(log: RedisLog, ledger: RedisLedger) -> None:
    [taken] = ledger.take("w1", [Ask(Lane("order", "gone"), 10)])
    assert taken.removed
    [taken] = ledger.take("w1", [Ask(Lane("nothing", "gone"), 10)])
    assert taken.removed


def test_a_log_of_another_type_is_reported_and_other_lanes_are_taken(
    log: RedisLog, ledger: RedisLedger
) -> None:
    entry = log.append("order", event("a"))
    log.client.set(log.keys.events("odd"), "no stream")
    odd = Lane("odd", "billing.charge")
    none, taken = ledger.take("w1", [Ask(odd, 10), Ask(LANE, 10)])
    assert (none.deliveries, none.removed) == ((), False)
    assert [entry] == [one.entry for one in taken.deliveries]
    assert [log.keys.events("odd")] == [one.key for one in ledger.invalid]


def test_another_error_of_a_script_is_raised(log: RedisLog, ledger: RedisLedger) -> None:
    log.client.set(log.keys.events("odd"), "no stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        ledger.claim("w1", Lane("odd", "billing.charge"), [("1-1", "a")], 3)
    no_number: Any = "x"
    with pytest.raises(ResponseError):
        ledger.take("w1", [Ask(LANE, no_number), Ask(ORDERED, 10)])


def test_scripts_that_the_server_forgot_are_loaded_again(
    log: RedisLog, ledger: RedisLedger
) -> None:
    entry = log.append("order", event("a"))
    log.client.script_flush()
    asks = [Ask(LANE, 10), Ask(ORDERED, 10)]
    assert [1, 1] == [len(taken.deliveries) for taken in ledger.take("w1", asks)]
    log.client.script_flush()
    assert 1 == len(ledger.claim("w1", LANE, [(entry, "a")], 3))


def test_a_row_outlives_one_window_and_not_two(settings: Settings, log: RedisLog) -> None:
    ledger = RedisLedger(replace(settings, dedup_window=60))
    entry = log.append("order", event("a"))
    take(ledger, LANE)
    ledger.claim("w1", LANE, [(entry, "a")], 3)
    ledger.finish("w1", LANE, [Settled(entry, "a", 1, Outcome.PROCESSED)])
    [key] = log.client.scan_iter(f"{log.keys.base('order')}matrix:*")
    assert 60_000 < log.client.pttl(key) <= 120_000
    began, longest = log.client.hget(key, "").split()
    log.client.hset(key, "", b"%d %b" % (int(began) - 60_000, longest))  # a window passes
    [row] = ledger.rows(LANE, ["a"])
    assert row is not None
    again = log.append("order", event("a"))
    take(ledger, LANE)
    assert ["duplicate"] == [c.verdict for c in ledger.claim("w1", LANE, [(again, "a")], 3)]


def test_of_two_generations_the_row_of_the_newer_holds(settings: Settings, log: RedisLog) -> None:
    """The older one still says that the event runs; another entry of it would run a second time."""
    ledger = RedisLedger(replace(settings, dedup_window=60))
    entry = log.append("order", event("a"))
    take(ledger, LANE)
    ledger.claim("w1", LANE, [(entry, "a")], 3)
    [key] = log.client.scan_iter(f"{log.keys.base('order')}matrix:*")
    began, longest = log.client.hget(key, "").split()
    log.client.hset(key, "", b"%d %b" % (int(began) - 60_000, longest))  # a window passes
    assert [] == ledger.finish("w1", LANE, [Settled(entry, "a", 1, Outcome.PROCESSED)])
    older, newer = log.client.hget(f"{key.decode()}:older", "a"), log.client.hget(key, "a")
    assert (b"running", b"processed") == (older.split()[0], newer.split()[0])
    again = log.append("order", event("a"))
    take(ledger, LANE)
    assert ["duplicate"] == [c.verdict for c in ledger.claim("w1", LANE, [(again, "a")], 3)]
    skipped = log.append("order", event("a"))
    take(ledger, LANE)
    assert [] == ledger.skip("w1", LANE, [Settled(skipped, "a", 0, Outcome.SKIPPED)])
    [row] = ledger.rows(LANE, ["a"])
    assert row is not None and row.state == "processed"


def test_forgetting_a_handler_leaves_no_key_of_it(log: RedisLog, ledger: RedisLedger) -> None:
    for name in "abc":
        log.append("order", event(name))
    [head] = take(ledger, ORDERED)
    ledger.claim("w1", ORDERED, [(head, "a")], 3)
    ledger.finish("w1", ORDERED, [Settled(head, "a", 1, Outcome.RETRY, took_us=1)])
    log.leave("order", ORDERED.handler)
    ledger.forget(ORDERED)
    assert [] == list(log.client.scan_iter(f"{log.keys.namespace}:*{ORDERED.handler}*"))


def test_nothing_that_grows_with_events_is_kept_for_ever(settings: Settings, log: RedisLog) -> None:
    """Rows, failures and effects expire within two windows; what is settled leaves no due time and
    no lane; the rest is the log and the dead letters, which are trimmed, and sums."""
    ledger = RedisLedger(replace(settings, dedup_window=60))
    for n in range(30):
        log.append("order", b'{"id": "e%d", "subject": "order/%d"}' % (n, n))
    for lane in (LANE, ORDERED):
        for outcome in (Outcome.RETRY, Outcome.DEAD):
            for entry, body in take(ledger, lane).items():
                event_id = msgspec.json.decode(body or b"")["id"]
                [claimed] = ledger.claim("w1", lane, [(entry, event_id)], 9)
                failure = Failure(attempt=claimed.attempt, at=1, error="boom")
                said = Settled(entry, event_id, claimed.attempt, outcome, failure=failure)
                assert ledger.finish("w1", lane, [said]) == []
    assert ledger.dead_count("order") == 60
    base = log.keys.base("order")
    lasting: set[str] = set()
    expiring: set[str] = set()
    for key in log.client.scan_iter(f"{base}*"):
        name = key.decode().removeprefix(base).split(":")[0]
        ttl = log.client.pttl(key)
        assert ttl <= 120_000 or name not in ("matrix", "failures", "effects")
        (lasting if ttl < 0 else expiring).add(name)
    assert {"matrix", "failures"} <= expiring
    assert lasting <= {
        "events", "dead", "dead_groups", "dead_newest", "bell", "stats", "patterns", "tally",
        "clock",
    }  # fmt: skip
