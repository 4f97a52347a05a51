"""What the delivery store on Redis has to withstand and the one in memory cannot meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError

from celeriac.delivery import Completion, Failure, FetchRequest, FlowControl, Group, Outcome
from celeriac.delivery.chunk_store import ChunkRequest
from celeriac.settings import Settings
from celeriac.store.redis.chunks import RedisChunks
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import RedisEventLog

GROUP = Group("order", "billing.charge")
ORDERED = Group("order", "billing.ledger", FlowControl(ordered=True, concurrency=1))


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return replace(settings, redis_url=f"{settings.redis_url}?protocol={request.param}")


@pytest.fixture
def event_log(settings: Settings) -> RedisEventLog:
    event_log = RedisEventLog(settings)
    for group in (GROUP, ORDERED):
        event_log.join(group.domain, group.handler, "0")
    return event_log


@pytest.fixture
def deliveries(settings: Settings) -> RedisDeliveryStore:
    return RedisDeliveryStore(settings)


def event(event_id: str) -> bytes:
    return b'{"id": "%s", "subject": "s"}' % event_id.encode()


def fetch(
    deliveries: RedisDeliveryStore, group: Group, *, over: bool = False
) -> dict[str, bytes | None]:
    deliveries.lease_ms = 0 if over else 30_000
    [taken] = deliveries.fetch("w1", [FetchRequest(group, 100, reclaim=over)])
    return {delivery.entry: delivery.body for delivery in taken.deliveries}


def test_a_life_from_the_log_to_the_matrix(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    entry = event_log.append("order", event("a"))
    assert {entry: event("a")} == fetch(deliveries, GROUP)
    pending = deliveries.pending(GROUP, entry)
    assert pending is not None and ("queued:w1", 0) == (pending.owner, pending.attempts)
    [claimed] = deliveries.claim("w1", GROUP, [(entry, "a")], 3)
    said = Completion(entry, "a", claimed.attempt, Outcome.RETRY, took_us=5)
    assert [] == deliveries.complete("w1", GROUP, [said], mean_us=5)
    pending = deliveries.pending(GROUP, entry)
    assert pending is not None and pending.due_ms is not None
    assert 1 == deliveries.due(GROUP)
    assert [entry] == list(fetch(deliveries, GROUP))
    [claimed] = deliveries.claim("w1", GROUP, [(entry, "a")], 3)
    assert [] == deliveries.complete(
        "w1", GROUP, [msgspec.structs.replace(said, attempt=2, outcome=Outcome.DEAD)]
    )
    [letter] = deliveries.dead("order")
    assert letter == deliveries.dead_letter("order", letter.id)
    assert event("a") == letter.event
    [row] = deliveries.rows(GROUP, ["a"])
    assert row is not None and 2 == row.attempt
    counts = {"retry": 1, "dead": 1, "busy_us": 10, "mean_us": 5}
    assert counts.items() <= deliveries.stats(GROUP).items()


def test_a_log_entry_without_an_event_is_fetched_as_empty_and_dead_lettered(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    entry = event_log.client.xadd(event_log.keys.events("order"), {"data": "x"}).decode()
    for group in (GROUP, ORDERED):
        assert {entry: b""} == fetch(deliveries, group)
        assert {entry: b""} == fetch(deliveries, group, over=True)
        deliveries.dead_letter_invalid("w1", group, entry, "no event")
        assert {} == fetch(deliveries, group, over=True)
    assert [b""] == [letter.event for letter in deliveries.dead("order")]


def test_what_is_begun_is_finished_by_a_server_that_forgot_the_scripts(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    entry = event_log.append("order", event("a"))
    fetch(deliveries, GROUP)
    [claimed] = deliveries.claim("w1", GROUP, [(entry, "a")], 3)
    deliveries.client.script_flush()
    said = [Completion(entry, "a", claimed.attempt, Outcome.PROCESSED)]
    assert [] == deliveries.begin_complete("w1", GROUP, said).result()
    assert None is deliveries.pending(GROUP, entry)


@pytest.mark.parametrize("before", ["queued", "running", "scheduled"])
@pytest.mark.parametrize("group", [GROUP, ORDERED], ids=["plain", "ordered"])
def test_what_others_deleted_is_reported_once_and_blocks_no_sequence(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore, group: Group, before: str
) -> None:
    entry, following = event_log.append("order", event("a")), event_log.append("order", event("b"))
    fetch(deliveries, group)
    if before != "queued":
        deliveries.claim("w1", group, [(entry, "a")], 3)
    if before == "scheduled":
        deliveries.complete("w1", group, [Completion(entry, "a", 1, Outcome.RETRY)])
    event_log.client.xdel(event_log.keys.events("order"), entry)
    taken = fetch(deliveries, group, over=True)
    assert taken[entry] is None
    assert None is deliveries.pending(group, entry)
    taken |= fetch(deliveries, group)
    assert event("b") == taken[following]
    assert entry not in fetch(deliveries, group, over=True)


def test_an_entry_deleted_outside_celeriac_is_left_for_reclaiming(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    entry = event_log.append("order", event("a"))
    fetch(deliveries, GROUP)
    event_log.client.xdel(event_log.keys.events("order"), entry)
    assert [] == deliveries.claim("w1", GROUP, [(entry, "a")], 3)
    assert {entry: None} == fetch(deliveries, GROUP, over=True)


@pytest.mark.parametrize("deleted", ["1000-0", "2000-0", "3000-0"])
def test_in_a_chunk_an_entry_deleted_outside_celeriac_is_not_claimed(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore, deleted: str
) -> None:
    """XCLAIM would drop it unseen. The ends of the log do not show that its middle has a hole."""
    pairs = [("1000-0", "a"), ("2000-0", "b"), ("3000-0", "c")]
    for entry, event_id in pairs:
        event_log.client.xadd(event_log.keys.events("order"), {"event": event(event_id)}, id=entry)
    fetch(deliveries, GROUP)
    event_log.client.xdel(event_log.keys.events("order"), deleted)
    # alone, and after those that are there
    alone = [pair for pair in pairs if pair[0] == deleted]
    for task in (alone, pairs):
        claimed = [one.entry for one in deliveries.claim("w1", GROUP, task, 3)]
        assert claimed == [entry for entry, _ in task if entry != deleted]
    assert fetch(deliveries, GROUP, over=True)[deleted] is None


def test_one_removed_handler_alone_is_reported_as_removed(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    [taken] = deliveries.fetch("w1", [FetchRequest(Group("order", "gone"), 10)])
    assert taken.removed
    [taken] = deliveries.fetch("w1", [FetchRequest(Group("nothing", "gone"), 10)])
    assert taken.removed


def test_a_log_of_another_type_is_reported_and_other_groups_are_fetched(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    entry = event_log.append("order", event("a"))
    event_log.client.set(event_log.keys.events("odd"), "no stream")
    odd = Group("odd", "billing.charge")
    none, taken = deliveries.fetch("w1", [FetchRequest(odd, 10), FetchRequest(GROUP, 10)])
    assert (none.deliveries, none.removed) == ((), False)
    assert [entry] == [one.entry for one in taken.deliveries]
    assert [event_log.keys.events("odd")] == [one.key for one in deliveries.invalid]


def test_another_error_of_a_script_is_raised(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    event_log.client.set(event_log.keys.events("odd"), "no stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        deliveries.claim("w1", Group("odd", "billing.charge"), [("1-1", "a")], 3)
    no_number: Any = "x"
    with pytest.raises(ResponseError):
        deliveries.fetch("w1", [FetchRequest(GROUP, no_number), FetchRequest(ORDERED, 10)])


def test_scripts_that_the_server_forgot_are_loaded_again(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    entry = event_log.append("order", event("a"))
    event_log.client.script_flush()
    requests = [FetchRequest(GROUP, 10), FetchRequest(ORDERED, 10)]
    assert [1, 1] == [len(taken.deliveries) for taken in deliveries.fetch("w1", requests)]
    event_log.client.script_flush()
    assert 1 == len(deliveries.claim("w1", GROUP, [(entry, "a")], 3))


def test_a_row_outlives_one_window_and_not_two(
    settings: Settings, event_log: RedisEventLog
) -> None:
    deliveries = RedisDeliveryStore(replace(settings, dedup_window=60))
    entry = event_log.append("order", event("a"))
    fetch(deliveries, GROUP)
    deliveries.claim("w1", GROUP, [(entry, "a")], 3)
    deliveries.complete("w1", GROUP, [Completion(entry, "a", 1, Outcome.PROCESSED)])
    [key] = event_log.client.scan_iter(f"{event_log.keys.base('order')}matrix:*")
    assert 60_000 < event_log.client.pttl(key) <= 120_000
    began, longest = event_log.client.hget(key, "").split()
    event_log.client.hset(key, "", b"%d %b" % (int(began) - 60_000, longest))  # a window passes
    [row] = deliveries.rows(GROUP, ["a"])
    assert row is not None
    again = event_log.append("order", event("a"))
    fetch(deliveries, GROUP)
    assert ["duplicate"] == [c.result for c in deliveries.claim("w1", GROUP, [(again, "a")], 3)]


def test_of_two_generations_the_row_of_the_newer_holds(
    settings: Settings, event_log: RedisEventLog
) -> None:
    """The older one still has the event as running; another entry of it would run a second time."""
    deliveries = RedisDeliveryStore(replace(settings, dedup_window=60))
    entry = event_log.append("order", event("a"))
    fetch(deliveries, GROUP)
    deliveries.claim("w1", GROUP, [(entry, "a")], 3)
    [key] = event_log.client.scan_iter(f"{event_log.keys.base('order')}matrix:*")
    began, longest = event_log.client.hget(key, "").split()
    event_log.client.hset(key, "", b"%d %b" % (int(began) - 60_000, longest))  # a window passes
    assert [] == deliveries.complete("w1", GROUP, [Completion(entry, "a", 1, Outcome.PROCESSED)])
    older, newer = (
        event_log.client.hget(f"{key.decode()}:older", "a"),
        event_log.client.hget(key, "a"),
    )
    assert (b"running", b"processed") == (older.split()[0], newer.split()[0])
    again = event_log.append("order", event("a"))
    fetch(deliveries, GROUP)
    assert ["duplicate"] == [c.result for c in deliveries.claim("w1", GROUP, [(again, "a")], 3)]
    skipped = event_log.append("order", event("a"))
    fetch(deliveries, GROUP)
    assert [] == deliveries.skip("w1", GROUP, [Completion(skipped, "a", 0, Outcome.SKIPPED)])
    [row] = deliveries.rows(GROUP, ["a"])
    assert row is not None and row.state == "processed"


def test_forgetting_a_handler_leaves_no_key_of_it(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore
) -> None:
    for name in "abc":
        event_log.append("order", event(name))
    [head] = fetch(deliveries, ORDERED)
    deliveries.claim("w1", ORDERED, [(head, "a")], 3)
    deliveries.complete("w1", ORDERED, [Completion(head, "a", 1, Outcome.RETRY, took_us=1)])
    event_log.leave("order", ORDERED.handler)
    deliveries.forget(ORDERED)
    assert [] == list(event_log.client.scan_iter(f"{event_log.keys.namespace}:*{ORDERED.handler}*"))


def test_nothing_that_grows_with_events_is_kept_for_ever(
    settings: Settings, event_log: RedisEventLog
) -> None:
    """Rows, failures and effects expire within two windows; completed deliveries leave no due time
    and no group; the rest is the log and the dead letters, which are trimmed, and sums."""
    deliveries = RedisDeliveryStore(replace(settings, dedup_window=60))
    for n in range(30):
        event_log.append("order", b'{"id": "e%d", "subject": "order/%d"}' % (n, n))
    for group in (GROUP, ORDERED):
        for outcome in (Outcome.RETRY, Outcome.DEAD):
            for entry, body in fetch(deliveries, group).items():
                event_id = msgspec.json.decode(body or b"")["id"]
                [claimed] = deliveries.claim("w1", group, [(entry, event_id)], 9)
                failure = Failure(attempt=claimed.attempt, at=1, error="boom")
                said = Completion(entry, event_id, claimed.attempt, outcome, failure=failure)
                assert deliveries.complete("w1", group, [said]) == []
    assert deliveries.dead_count("order") == 60
    base = event_log.keys.base("order")
    lasting: set[str] = set()
    expiring: set[str] = set()
    for key in event_log.client.scan_iter(f"{base}*"):
        name = key.decode().removeprefix(base).split(":")[0]
        ttl = event_log.client.pttl(key)
        assert ttl <= 120_000 or name not in ("matrix", "failures", "effects")
        (lasting if ttl < 0 else expiring).add(name)
    assert {"matrix", "failures"} <= expiring
    assert lasting <= {
        "events", "dead", "dead_groups", "dead_newest", "wakeup", "stats", "patterns", "counters",
        "clock",
    }  # fmt: skip


def test_a_chunk_that_is_requeued_while_groups_are_read_is_counted(
    event_log: RedisEventLog, deliveries: RedisDeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a handler with work seems to be done."""
    chunks = RedisChunks(deliveries)
    event_log.append("order", event("a"))
    chunks.fetch("w1", [ChunkRequest(GROUP, "c1", 10)])
    read = event_log.client.xinfo_groups

    def requeue_after(key: str) -> Any:
        found = read(key)
        chunks.requeue("w1", GROUP, "c1")
        return found

    monkeypatch.setattr(event_log.client, "xinfo_groups", requeue_after)
    pending = {group.handler: group.pending for group in event_log.groups("order")}
    assert 1 == pending[GROUP.handler]
