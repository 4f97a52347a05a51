"""Fetching deliveries: what a client receives, when it receives it again, and what never."""

from __future__ import annotations

import json

import pytest
import redis

from celeriac.delivery import MAX_LOST_RUNS, DeliveryState, Pending
from celeriac.pull.fetching import FULL_INTERVAL
from tests.unit.pull.conftest import HOUR, INDEX, PullBus, id_of, ids_of


def pending(pull: PullBus, entry: str) -> Pending:
    found = pull.backend.deliveries.pending(pull.group(), entry)
    assert found is not None
    return found


def test_a_fetched_delivery_has_the_event_the_attempt_and_the_end_of_its_lease(
    pull: PullBus,
) -> None:
    pull.register(lease=60)
    before = pull.backend.registry.now_ms()
    id = pull.emit(data={"n": 1}, subject="order/1")
    [delivery] = pull.fetch()
    event = json.loads(delivery.event)
    assert (id, "order.placed", "order/1", {"n": 1}, "1.0", "shop") == (
        event["id"], event["type"], event["subject"], event["data"], event["specversion"],
        event["source"],
    )  # fmt: skip
    assert delivery.attempt == 1
    assert delivery.reference.domain == "order"
    assert before + 60_000 <= delivery.deadline_ms <= pull.backend.registry.now_ms() + 60_000
    assert pull.state(delivery) is DeliveryState.RUNNING


def test_events_come_in_the_order_of_the_log_and_each_once(pull: PullBus) -> None:
    pull.register()
    emitted = [pull.emit() for _ in range(5)]
    assert ids_of(pull.fetch(limit=3)) + ids_of(pull.fetch(limit=3)) == emitted
    assert pull.fetch() == []


def test_a_new_handler_begins_now_or_at_the_first_event(pull: PullBus) -> None:
    early = pull.emit()
    pull.register("search.late")
    pull.register("search.early", start="beginning")
    late = pull.emit()
    assert ids_of(pull.fetch("search.late")) == [late]
    assert ids_of(pull.fetch("search.early")) == [early, late]


def test_each_handler_gets_its_own_delivery(pull: PullBus) -> None:
    pull.register("search.index")
    pull.register("mail.send")
    id = pull.emit()
    assert ids_of(pull.fetch("search.index")) == ids_of(pull.fetch("mail.send")) == [id]


def test_an_event_that_no_pattern_matches_is_passed(pull: PullBus) -> None:
    pull.register(INDEX, "order.paid")
    for _ in range(300):
        pull.emit("order.placed")
    wanted = pull.emit("order.paid")
    assert ids_of(pull.fetch(limit=1)) == [wanted]
    assert pull.fetch() == []


def test_an_event_for_another_handler_is_not_delivered(pull: PullBus) -> None:
    pull.register()
    pull.emit(handlers=["mail.send"])
    mine = pull.emit(handlers=[INDEX])
    assert ids_of(pull.fetch()) == [mine]


def test_a_wildcard_gets_the_events_of_all_domains_also_of_later_ones(pull: PullBus) -> None:
    pull.register(INDEX, "#")
    emitted = {pull.emit("order.placed"), pull.emit("payment.captured")}
    assert set(ids_of(pull.fetch())) == emitted
    pull.pass_time(1)
    later = pull.emit("parcel.sent")
    assert ids_of(pull.fetch()) == [later]


def test_several_domains_share_the_limit(pull: PullBus) -> None:
    pull.register(INDEX, "order.*", "payment.*", "parcel.*")
    emitted = {pull.emit(f"{domain}.x") for domain in ("order", "payment", "parcel") for _ in "12"}
    seen: set[str] = set()
    for _ in range(6):
        given = pull.fetch(limit=1)
        assert len(given) == 1
        seen |= set(ids_of(given))
    assert seen == emitted


def test_two_clients_of_one_handler_share_its_deliveries(pull: PullBus) -> None:
    pull.register()
    other = pull.gateway()
    emitted = [pull.emit() for _ in range(4)]
    first = pull.fetch(limit=2)
    second = list(other.fetch(INDEX, 10).deliveries)
    assert ids_of(first) + ids_of(second) == emitted


def test_a_client_that_crashed_before_it_completed_loses_the_delivery_when_its_lease_ends(
    pull: PullBus,
) -> None:
    pull.register(lease=30)
    id = pull.emit()
    [first] = pull.fetch()
    pull.pass_time(29)
    assert pull.fetch() == []
    pull.pass_time(4)
    [again] = pull.fetch()
    assert (id_of(again), again.attempt) == (id, 2)
    assert again.reference == first.reference


def test_a_lost_run_is_no_attempt_of_the_retry_policy(pull: PullBus) -> None:
    pull.register(retries=1)
    pull.emit()
    pull.fetch()
    pull.pass_time(HOUR)
    [delivery] = pull.fetch()
    assert pending(pull, delivery.reference.entry).lost_runs == 1
    assert pull.complete(delivery, "failed", error="bank").state is DeliveryState.SCHEDULED
    pull.pass_time(HOUR)
    [last] = pull.fetch()
    assert last.attempt == 3
    assert pull.complete(last, "failed", error="bank").state is DeliveryState.DEAD


def test_a_delivery_whose_clients_die_repeatedly_becomes_a_dead_letter(pull: PullBus) -> None:
    pull.register()
    pull.emit()
    for _ in range(10 * MAX_LOST_RUNS):
        pull.fetch()
        pull.pass_time(HOUR)
    [dead] = pull.backend.deliveries.dead("order")
    assert dead.error.startswith("Exhausted: its worker died, or lost the lease, in 10 of 10 runs")


def test_leases_of_two_handlers_have_their_own_length(pull: PullBus) -> None:
    pull.register("search.short", lease=5)
    pull.register("search.long", lease=500)
    pull.emit()
    pull.fetch("search.short")
    pull.fetch("search.long")
    pull.pass_time(100)
    assert [d.attempt for d in pull.fetch("search.short")] == [2]
    assert pull.fetch("search.long") == []


def test_the_events_of_a_key_come_one_at_a_time_and_in_order(pull: PullBus) -> None:
    pull.register(ordered=True)
    first, second = pull.emit(subject="a"), pull.emit(subject="a")
    other = pull.emit(subject="b")
    given = pull.fetch()
    assert ids_of(given) == [first, other]
    assert pull.complete(given[0], "failed", error="bank").state is DeliveryState.SCHEDULED
    assert pull.fetch() == []
    pull.pass_time(HOUR)
    retried = next(d for d in pull.fetch() if id_of(d) == first)
    assert retried.attempt == 2
    pull.complete(retried)
    assert second in ids_of(pull.fetch())


def test_a_key_of_the_data_limits_its_deliveries(pull: PullBus) -> None:
    pull.register(key="data.tenant", concurrency_per_key=1)
    first, second = (pull.emit(data={"tenant": "a"}) for _ in "12")
    other = pull.emit(data={"tenant": "b"})
    given = pull.fetch()
    assert set(ids_of(given)) == {first, other}
    pull.complete(next(d for d in given if id_of(d) == first))
    assert ids_of(pull.fetch()) == [second]


@pytest.mark.parametrize("patterns", [["order.*"], ["order.*", "payment.*"]])
def test_concurrency_limits_what_all_clients_have_together(
    pull: PullBus, patterns: list[str]
) -> None:
    pull.register(INDEX, *patterns, concurrency=2)
    for pattern in patterns * 2:
        pull.emit(pattern.replace("*", "x"))
        pull.emit(pattern.replace("*", "x"))
    [first] = pull.fetch(limit=1)
    [second] = pull.gateway().fetch(INDEX, 10).deliveries
    full = pull.fetched()
    assert full.deliveries == ()
    assert full.next_poll == FULL_INTERVAL
    pull.complete(first)
    assert len(pull.fetch()) == 1
    pull.complete(second)
    assert len(pull.fetch()) == 1


def test_a_due_retry_of_a_full_handler_causes_no_busy_polling(pull: PullBus) -> None:
    pull.register(concurrency=1, backoff=0.001, jitter=0)
    for _ in range(2):
        pull.emit()
    [first] = pull.fetch()
    pull.complete(first, "failed")
    pull.pass_time(1)
    pull.fetch()
    assert pull.fetched().next_poll == FULL_INTERVAL


def test_a_rate_limit_schedules_what_exceeds_it(pull: PullBus) -> None:
    pull.register(rate_limit="2/s")
    emitted = [pull.emit() for _ in range(4)]
    assert ids_of(pull.fetch()) == emitted[:2]
    assert pull.fetched().deliveries == ()


def test_a_paused_handler_gets_nothing_until_it_is_resumed(pull: PullBus) -> None:
    pull.register()
    id = pull.emit()
    pull.backend.circuits.pause(INDEX, reason="deploy")
    pull.pass_time(1)
    assert pull.fetch() == []
    pull.backend.circuits.resume(INDEX)
    pull.pass_time(1)
    [delivery] = pull.fetch()
    assert (id_of(delivery), delivery.attempt) == (id, 1)


def test_a_handler_can_begin_paused(pull: PullBus) -> None:
    pull.register(paused=True)
    pull.emit()
    assert pull.fetch() == []
    pull.backend.circuits.resume(INDEX)
    pull.register(paused=True)
    pull.pass_time(1)
    assert len(pull.fetch()) == 1


def test_a_breaker_opens_after_failures_and_lets_one_delivery_through(pull: PullBus) -> None:
    pull.register(
        breaker={"failures": 2, "recovery_timeout": 30, "failure_rate": 0}, backoff=0, jitter=0
    )
    for _ in range(4):
        pull.emit()
    given = pull.fetch(limit=2)
    for delivery in given:
        pull.complete(delivery, "failed", error={"type": "ConnectionError", "message": "bank"})
    assert pull.fetch() == []
    assert pull.backend.circuits.get(INDEX).reason == "ConnectionError: bank"


def test_an_invalid_entry_becomes_a_dead_letter(pull: PullBus) -> None:
    pull.register()
    pull.append("order", b"no event")
    assert pull.fetch() == []
    [dead] = pull.backend.deliveries.dead("order")
    assert dead.handler == INDEX


def test_a_second_entry_of_an_event_is_ignored(pull: PullBus) -> None:
    pull.register()
    id = pull.emit()
    [delivery] = pull.fetch()
    body = delivery.event
    pull.complete(delivery)
    pull.append("order", body)
    assert pull.fetch() == []
    assert pull.state(delivery) is DeliveryState.PROCESSED
    assert id_of(delivery) == id


def test_large_events_come_in_several_answers(pull: PullBus) -> None:
    pull.register()
    emitted = [pull.emit(data="x" * 900_000) for _ in range(6)]
    first = pull.fetch()
    assert 1 <= len(first) < 6
    seen = ids_of(first)
    while more := pull.fetch():
        seen += ids_of(more)
    assert sorted(seen) == sorted(emitted)


def test_a_share_is_applied(pull: PullBus) -> None:
    pull.register(share=0.5)
    for n in range(40):
        pull.emit(subject=f"order/{n}")
    assert 5 < len(pull.fetch(limit=40)) < 35


def test_debounced_events_of_a_key_come_as_the_last_one(pull: PullBus) -> None:
    pull.register(debounce={"quiet": 5, "max_wait": 60})
    for _ in range(2):
        pull.emit(subject="a")
    last = pull.emit(subject="a")
    assert pull.fetch() == []
    pull.pass_time(10)
    assert ids_of(pull.fetch()) == [last]


def test_the_next_poll_is_when_a_retry_is_due(pull: PullBus) -> None:
    pull.register(backoff=0.5, jitter=0)
    pull.emit()
    pull.complete(pull.fetch()[0], "failed", error="bank")
    assert 0 < pull.fetched().next_poll <= 0.5


def test_what_a_failed_fetch_queued_is_fetched_by_the_next_one(
    pull: PullBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull.register()
    emitted = [pull.emit() for _ in range(2)]

    def unreachable(*args: object, **more: object) -> None:
        raise redis.ConnectionError("lost")

    with monkeypatch.context() as broken:
        broken.setattr(pull.backend.deliveries, "claim", unreachable)
        with pytest.raises(redis.ConnectionError):
            pull.fetch()
    again = pull.fetch()
    assert sorted(ids_of(again)) == sorted(emitted)
    assert {delivery.attempt for delivery in again} == {1}


def test_released_deliveries_come_again_with_the_same_attempt(pull: PullBus) -> None:
    pull.register()
    id = pull.emit()
    given = pull.fetch()
    pull.handlers.release(INDEX, given)
    [again] = pull.fetch()
    assert (id_of(again), again.attempt) == (id, 1)
