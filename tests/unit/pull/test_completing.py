"""Completing and renewing: the attempt decides who still has a delivery."""

from __future__ import annotations

import pytest

from celeriac.dead_letter.actions import redrive_dead_letter
from celeriac.delivery import DeliveryState
from celeriac.event_log import entry_time_ms
from celeriac.pull.pulled import PulledDelivery
from celeriac.pull.reference import Reference
from celeriac.pull.refusal import LeaseLost
from celeriac.pull.result import read_result
from tests.unit.pull.conftest import HOUR, INDEX, PullBus, id_of, ids_of


@pytest.fixture
def delivery(pull: PullBus) -> PulledDelivery:
    pull.register()
    pull.emit()
    [delivery] = pull.fetch()
    return delivery


def test_a_processed_delivery_is_in_the_matrix_and_never_comes_again(
    pull: PullBus, delivery: PulledDelivery
) -> None:
    assert pull.complete(delivery, took=0.25).state is DeliveryState.PROCESSED
    [row] = pull.backend.deliveries.rows(pull.group(), [pull.key(id_of(delivery))])
    assert row is not None
    assert (row.state, row.attempt, row.took_us) == (DeliveryState.PROCESSED, 1, 250_000)
    pull.pass_time(HOUR)
    assert pull.fetch() == []


def test_a_failed_delivery_is_retried_by_the_policy_with_its_error(pull: PullBus) -> None:
    pull.register(retries=1, backoff=10, jitter=0)
    id = pull.emit()
    [delivery] = pull.fetch()
    error = {"type": "TimeoutError", "message": "bank", "stack": "at pay (bank.js:7)"}
    completed = pull.complete(delivery, "failed", error=error)
    assert (completed.state, completed.retry_in) == (DeliveryState.SCHEDULED, 10)
    assert pull.fetch() == []
    pull.pass_time(11)
    [retried] = pull.fetch()
    assert (id_of(retried), retried.attempt) == (id, 2)
    last = pull.complete(retried, "failed", error=error)
    assert (last.state, last.retry_in) == (DeliveryState.DEAD, None)
    [dead] = pull.backend.deliveries.dead("order")
    assert (dead.handler, dead.error, dead.traceback) == (
        INDEX, "TimeoutError: bank", "at pay (bank.js:7)"
    )  # fmt: skip
    failures = pull.backend.deliveries.failures(pull.group(), pull.key(id))
    assert [(f.attempt, f.error) for f in failures] == [
        (1, "TimeoutError: bank"), (2, "TimeoutError: bank")
    ]  # fmt: skip


def test_retry_after_delays_the_retry_and_never_shortens_the_backoff(pull: PullBus) -> None:
    pull.register(backoff=10, jitter=0)
    for _ in range(2):
        pull.emit()
    first, second = pull.fetch()
    assert pull.complete(first, "failed", retry_after=90).retry_in == 90
    assert pull.complete(second, "failed", retry_after=0).retry_in == 10


def test_a_delivery_can_be_dead_lettered_at_once(pull: PullBus, delivery: PulledDelivery) -> None:
    completed = pull.complete(delivery, "dead", error={"type": "NoSuchUser", "message": "7"})
    assert completed.state is DeliveryState.DEAD
    assert [d.error for d in pull.backend.deliveries.dead("order")] == ["NoSuchUser: 7"]


def test_an_error_needs_neither_type_nor_message(pull: PullBus) -> None:
    pull.register(retries=0)
    for _ in range(2):
        pull.emit()
    first, second = pull.fetch()
    pull.complete(first, "failed")
    pull.complete(second, "dead", error="no such user")
    assert [d.error for d in pull.backend.deliveries.dead("order")] == [
        "AttemptFailed: the handler named no reason", "Rejected: no such user"
    ]  # fmt: skip


def test_a_delivery_can_be_skipped(pull: PullBus, delivery: PulledDelivery) -> None:
    assert pull.complete(delivery, "skipped").state is DeliveryState.SKIPPED
    assert pull.state(delivery) is DeliveryState.SKIPPED


def test_sensitive_values_are_masked_in_errors_and_stacks(pull: PullBus) -> None:
    pull.register(retries=0)
    pull.emit(data={"card": "4111-1111"}, sensitive=["card"])
    [delivery] = pull.fetch()
    error = {"type": "BankError", "message": "no 4111-1111", "stack": "pay(4111-1111)"}
    pull.complete(delivery, "failed", error=error)
    [dead] = pull.backend.deliveries.dead("order")
    assert "4111" not in dead.error + dead.traceback
    assert dead.error.startswith("BankError: no ")


@pytest.mark.parametrize("outcome", ["processed", "failed", "dead", "skipped"])
def test_a_repeated_completion_gets_the_same_answer_and_changes_nothing(
    pull: PullBus, delivery: PulledDelivery, outcome: str
) -> None:
    first = pull.complete(delivery, outcome)
    stats = pull.backend.deliveries.stats(pull.group())
    assert pull.complete(delivery, outcome).state is first.state
    assert pull.backend.deliveries.stats(pull.group()) == stats


def test_another_result_for_a_completed_attempt_is_refused(
    pull: PullBus, delivery: PulledDelivery
) -> None:
    pull.complete(delivery, "processed")
    with pytest.raises(LeaseLost):
        pull.complete(delivery, "dead")
    assert pull.state(delivery) is DeliveryState.PROCESSED
    assert pull.backend.deliveries.dead_count("order") == 0


@pytest.mark.parametrize("outcome", ["processed", "failed", "dead", "skipped"])
def test_a_late_completion_is_refused_and_changes_nothing(
    pull: PullBus, delivery: PulledDelivery, outcome: str
) -> None:
    pull.pass_time(HOUR)
    [again] = pull.fetch()
    stats = pull.backend.deliveries.stats(pull.group())
    with pytest.raises(LeaseLost, match=r"attempt 1 of order/.* has ended"):
        pull.complete(delivery, outcome)
    assert pull.state(delivery) is DeliveryState.RUNNING
    assert pull.backend.deliveries.stats(pull.group()) == stats
    assert pull.backend.deliveries.dead_count("order") == 0
    assert pull.complete(again).state is DeliveryState.PROCESSED


def test_a_late_completion_is_accepted_until_the_delivery_is_fetched_again(
    pull: PullBus, delivery: PulledDelivery
) -> None:
    pull.pass_time(HOUR)
    assert pull.complete(delivery).state is DeliveryState.PROCESSED
    assert pull.fetch() == []


def test_any_gateway_accepts_a_completion_and_a_renewal(
    pull: PullBus, delivery: PulledDelivery
) -> None:
    other = pull.gateway()
    assert other.renew(INDEX, delivery.reference, 1) >= delivery.deadline_ms
    assert pull.complete(delivery, handlers=other).state is DeliveryState.PROCESSED


def test_a_renewed_lease_keeps_the_delivery(pull: PullBus, delivery: PulledDelivery) -> None:
    for _ in range(3):
        pull.pass_time(20)
        pull.handlers.renew(INDEX, delivery.reference, delivery.attempt)
        assert pull.fetch() == []
    assert pull.complete(delivery).state is DeliveryState.PROCESSED


def test_a_lost_lease_cannot_be_renewed(pull: PullBus, delivery: PulledDelivery) -> None:
    pull.pass_time(HOUR)
    [again] = pull.fetch()
    with pytest.raises(LeaseLost):
        pull.handlers.renew(INDEX, delivery.reference, 1)
    pull.handlers.renew(INDEX, again.reference, 2)
    pull.complete(again)
    with pytest.raises(LeaseLost):
        pull.handlers.renew(INDEX, again.reference, 2)


@pytest.mark.parametrize("attempt", [2, 1000])
def test_an_attempt_that_did_not_begin_is_refused(
    pull: PullBus, delivery: PulledDelivery, attempt: int
) -> None:
    forged = {"entry": str(delivery.reference), "attempt": attempt, "outcome": "processed"}
    with pytest.raises(LeaseLost):
        pull.handlers.complete(INDEX, read_result(forged))
    assert pull.state(delivery) is DeliveryState.RUNNING


def test_an_entry_that_was_not_fetched_is_refused(pull: PullBus, delivery: PulledDelivery) -> None:
    pull.emit()
    entries = pull.backend.event_log.read("order")
    unread = Reference("order", entries[-1].id)
    later = Reference("order", f"{entry_time_ms(entries[-1].id) + 1000}-0")
    for reference in (unread, later, Reference("payment", entries[0].id)):
        forged = {"entry": str(reference), "attempt": 1, "outcome": "processed"}
        with pytest.raises(LeaseLost):
            pull.handlers.complete(INDEX, read_result(forged))
        with pytest.raises(LeaseLost):
            pull.handlers.renew(INDEX, reference, 1)
    assert len(pull.fetch()) == 1


def test_a_delivery_of_another_handler_is_not_reached(
    pull: PullBus, delivery: PulledDelivery
) -> None:
    pull.register("mail.send", start="beginning")
    with pytest.raises(LeaseLost):
        pull.complete(delivery, id="mail.send")
    assert pull.state(delivery) is DeliveryState.RUNNING


def test_a_dead_letter_is_redriven_to_the_clients(pull: PullBus, delivery: PulledDelivery) -> None:
    pull.complete(delivery, "dead")
    records = pull.backend.registry.handlers()
    [dead] = pull.backend.deliveries.dead("order")
    assert redrive_dead_letter(pull.backend, records, "order", dead.id)
    [again] = pull.fetch()
    assert ids_of([again]) == ids_of([delivery])
    assert pull.complete(again).state is DeliveryState.PROCESSED
    assert pull.backend.deliveries.dead_count("order") == 0


def test_the_run_time_that_clients_report_becomes_that_of_the_handler(
    pull: PullBus, delivery: PulledDelivery
) -> None:
    pull.complete(delivery, took=0.125)
    assert pull.backend.deliveries.stats(pull.group())["mean_us"] == 125_000
