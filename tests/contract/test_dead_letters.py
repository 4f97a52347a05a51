"""What is given up, and how it comes back: dead letters, redriving, replaying."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac.delivery import (
    ClaimResult,
    DeadLetter,
    DeliveryState,
    EditedDeadLetter,
    Failure,
    Group,
    Outcome,
)
from celeriac.delivery.record import MAX_HISTORY
from celeriac.errors import NotFound
from tests.contract.store import DOMAIN, Store, body, key_of, settled


def make_dead_letter(store: Store, group: Group, event_id: str = "a") -> DeadLetter:
    store.emit(event_id)
    for claimed in store.run(group):
        assert store.complete(group, claimed, Outcome.DEAD)
    return store.deliveries.dead(DOMAIN, newest_first=True)[0]


def test_a_dead_letter_has_what_happened(store: Store, group: Group) -> None:
    entry = store.emit("a")
    for n, outcome in ((1, Outcome.RETRY), (2, Outcome.DEAD)):
        [claimed] = store.run(group)
        failure = Failure(attempt=n, at=1000 * n, error=f"boom {n}")
        store.complete(group, claimed, outcome, failure=failure, traceback=f"line {n}")
    [letter] = store.deliveries.dead(DOMAIN)
    assert (DOMAIN, group.handler, entry, "a") == (
        letter.domain, letter.handler, letter.entry, letter.event_key
    )  # fmt: skip
    assert (2, "boom 2", "line 2") == (letter.attempts, letter.error, letter.traceback)
    assert 1000 == letter.first_failed_ms
    assert abs(letter.last_failed_ms - store.registry.now_ms()) < 60_000
    assert body("a") == letter.event
    assert letter == store.deliveries.dead_letter(DOMAIN, letter.id)
    assert None is store.deliveries.pending(group, entry)
    assert [1, 2] == [f.attempt for f in store.deliveries.failures(group, "a")]


def test_a_dead_letter_counts_the_attempts_that_ran(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.RETRY)
    [claimed] = store.claim(group, store.fetch(group).deliveries, most=1)
    assert (ClaimResult.EXHAUSTED, 2) == (claimed.result, claimed.attempt)
    store.complete(group, claimed, Outcome.DEAD, failure=Failure(attempt=1, at=1, error="used up"))
    [letter] = store.deliveries.dead(DOMAIN)
    [row] = store.deliveries.rows(group, ["a"])
    assert row is not None
    assert (1, 1) == (letter.attempts, row.attempt)


def test_a_dead_letter_without_a_failure_is_one_all_the_same(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.DEAD, failure=None)
    [letter] = store.deliveries.dead(DOMAIN)
    assert letter.first_failed_ms == letter.last_failed_ms
    assert [] == store.deliveries.failures(group, "a")


def test_dead_letters_are_read_from_either_end(store: Store, group: Group) -> None:
    a, b, c = (make_dead_letter(store, group, name).id for name in "abc")
    read = store.deliveries.dead
    assert [a, b, c] == [one.id for one in read(DOMAIN)]
    assert [b] == [one.id for one in read(DOMAIN, after=a, count=1)]
    assert [c, b] == [one.id for one in read(DOMAIN, newest_first=True, count=2)]
    assert [a] == [one.id for one in read(DOMAIN, after=b, newest_first=True)]
    assert 3 == store.deliveries.dead_count(DOMAIN)
    assert [] == read("nothing")
    assert 0 == store.deliveries.dead_count("nothing")


def test_there_is_no_dead_letter_of_an_id_that_is_none(store: Store) -> None:
    assert None is store.deliveries.dead_letter(DOMAIN, "1-1")
    assert None is store.deliveries.dead_letter(DOMAIN, "no id at all")


def test_a_discarded_dead_letter_is_gone(store: Store, group: Group) -> None:
    letter = make_dead_letter(store, group)
    assert 1 == store.deliveries.discard(DOMAIN, [letter.id, "1-1"])
    assert 0 == store.deliveries.discard(DOMAIN, [letter.id])
    assert 0 == store.deliveries.discard(DOMAIN, [])
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert not store.deliveries.redrive(group, [(letter, b"")])


# -- redriving


def test_a_redriven_delivery_begins_again(store: Store, group: Group) -> None:
    letter = make_dead_letter(store, group)
    assert store.deliveries.redrive(group, [(letter, b"unused")])
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert [None] == store.deliveries.rows(group, ["a"])
    [claimed] = store.run(group)
    assert (letter.entry, ClaimResult.RUN, 1) == (claimed.entry, claimed.result, claimed.attempt)
    assert store.complete(group, claimed)
    assert 1 == store.event_log.length(DOMAIN)


def test_redriving_twice_is_redriving_once(store: Store, group: Group) -> None:
    letter = make_dead_letter(store, group)
    assert store.deliveries.redrive(group, [(letter, b"")])
    assert not store.deliveries.redrive(group, [(letter, b"")])
    assert 1 == len(store.run(group))
    assert not store.deliveries.redrive(group, [(letter, b"")])


def test_redriving_notifies_dispatchers(store: Store, group: Group) -> None:
    letter = make_dead_letter(store, group)
    seen = {f"wakeup {DOMAIN}": "0"}
    store.deliveries.redrive(group, [(letter, b"")])
    assert seen != store.event_log.wait(seen, 1)


def test_where_the_entry_was_trimmed_the_event_is_appended_addressed(
    make_store: Callable[..., Store],
) -> None:
    store, group = make_store(retention_count=0), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    letter = make_dead_letter(store, group)
    assert (1, 0) == store.event_log.trim(DOMAIN, exact=True)
    addressed = body("a", handlers=group.handler)
    assert store.deliveries.redrive(group, [(letter, addressed)])
    assert not store.deliveries.redrive(group, [(letter, addressed)])
    assert [addressed] == [e.body for e in store.event_log.read(DOMAIN)]
    [claimed] = store.run(group)
    assert (ClaimResult.RUN, 1, addressed) == (claimed.result, claimed.attempt, claimed.body)


def test_an_entry_that_a_new_group_will_fetch_is_not_redriven(store: Store, group: Group) -> None:
    letter = make_dead_letter(store, group)
    store.event_log.leave(DOMAIN, group.handler)
    store.event_log.join(DOMAIN, group.handler, "0")
    assert store.deliveries.redrive(group, [(letter, b"")])
    deliveries = store.fetch(group).deliveries
    assert [letter.entry] == [one.entry for one in deliveries]
    assert [letter.entry] == [one.entry for one in store.claim(group, deliveries)]
    assert () == store.fetch(group).deliveries
    assert 0 == store.deliveries.due(group)


def test_nothing_is_redriven_or_replayed_for_a_handler_that_left(
    store: Store, group: Group
) -> None:
    letter = make_dead_letter(store, group)
    store.event_log.leave(DOMAIN, group.handler)
    with pytest.raises(NotFound, match=r"billing\.charge has no subscription"):
        store.deliveries.redrive(group, [(letter, b"")])
    with pytest.raises(NotFound):
        store.deliveries.replay(group, [(letter.entry, "a")])
    assert 1 == store.deliveries.dead_count(DOMAIN)


def test_failures_survive_redrives_with_the_person_who_redrove(store: Store, group: Group) -> None:
    """Each life keeps its attempts; a JSON note comes back as it was."""
    letter, note = (
        make_dead_letter(store, group),
        b'{"actor":"ann","did":"redrive","what":"line\\nbreak"}',
    )
    assert store.deliveries.redrive(group, [(letter, b"unused")], note)
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.DEAD, failure=Failure(attempt=1, at=9, error="again"))
    past = store.deliveries.history(group, "a")
    assert [(1, 1), (1, 2)] == [(f.attempt, f.life) for f in past.failures]
    assert [(2, note.decode())] == [(one.life, one.note) for one in past.restarts]
    several = store.deliveries.histories(group, ["nobody", "a"])
    assert [(), past.failures] == [one.failures for one in several]
    assert [] == store.deliveries.histories(group, [])
    [second] = store.deliveries.dead(DOMAIN)
    assert past.failures[0].at == second.first_failed_ms, "the first of all lives"
    assert store.deliveries.redrive(group, [(second, b"unused")])
    assert [2, 3] == [one.life for one in store.deliveries.history(group, "a").restarts]


# -- editing


def edited(letter: DeadLetter, id: str = "b") -> EditedDeadLetter:
    return EditedDeadLetter(letter, id, id, "order.placed", body(id, handlers=letter.handler))


def test_an_edited_event_replaces_a_dead_letter(store: Store, group: Group) -> None:
    """One move: the letter goes, the event comes, and the old delivery's history names it."""
    letter, note = make_dead_letter(store, group), b'{"actor":"ann","did":"edit","what":"a"}'
    assert 1 == store.deliveries.edit(group, [edited(letter)], note)
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert [] == store.deliveries.dead_groups(DOMAIN)
    past = store.deliveries.history(group, "a")
    [restart] = past.restarts
    assert ("b", 1, note.decode()) == (restart.edited, restart.life, restart.note)
    assert 1 == past.life, "the old delivery has no other life"
    [row] = store.deliveries.rows(group, ["a"])
    assert row is not None and "dead" == row.state
    [delivery] = store.fetch(group).deliveries
    assert "b" == key_of(delivery.body)
    [emitted_events] = store.deliveries.emitted_events(group, ["a"])
    assert [("order.placed", "b")] == [tuple(effect) for effect in emitted_events.named]
    assert [(note, 1)] == [(one.note, one.count) for one in store.deliveries.audit_log(DOMAIN)]


def test_editing_twice_is_editing_once(store: Store, group: Group) -> None:
    letter = make_dead_letter(store, group)
    assert 1 == store.deliveries.edit(group, [edited(letter)])
    assert 0 == store.deliveries.edit(group, [edited(letter, "c")], b'{"actor":"ann"}')
    assert 0 == store.deliveries.edit(group, [])
    assert 2 == store.event_log.length(DOMAIN)
    assert [] == store.deliveries.audit_log(DOMAIN), "nothing was done"


def test_nothing_is_edited_for_a_handler_that_left(store: Store, group: Group) -> None:
    letter = make_dead_letter(store, group)
    store.event_log.leave(DOMAIN, group.handler)
    with pytest.raises(NotFound):
        store.deliveries.edit(group, [edited(letter)])
    assert (1, 1) == (store.deliveries.dead_count(DOMAIN), store.event_log.length(DOMAIN))


# -- replaying


def test_a_replay_keeps_how_the_life_before_it_ended(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, took_us=1500)
    assert 1 == store.deliveries.replay(group, [(claimed.entry, "a")], b'{"actor":"ann"}')
    [restart] = store.deliveries.history(group, "a").restarts
    assert ("processed", 1, 1500, 2) == (
        restart.ended, restart.attempts, restart.took, restart.life,
    )  # fmt: skip
    assert restart.ended_at is not None and restart.ended_at <= restart.at
    [again] = store.run(group)
    store.complete(group, again, Outcome.DEAD, failure=Failure(attempt=1, at=9, error="again"))
    [letter] = store.deliveries.dead(DOMAIN)
    assert 9 == letter.first_failed_ms, "the replay is no failure"


@pytest.mark.parametrize("outcome", ["processed", "skipped", "ignored", "dead"])
def test_a_completed_delivery_is_replayed(store: Store, group: Group, outcome: str) -> None:
    entry = store.emit("a")
    store.complete(group, store.run(group)[0], Outcome(outcome))
    assert 1 == store.deliveries.replay(group, [(entry, "a"), (entry, "a")])
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert [None] == store.deliveries.rows(group, ["a"])
    [claimed] = store.run(group)
    assert (entry, ClaimResult.RUN, 1) == (claimed.entry, claimed.result, claimed.attempt)


def test_replaying_leaves_the_dead_letters_of_others(
    store: Store, group: Group, ordered: Group
) -> None:
    entry = store.emit("a")
    for one in (group, ordered):
        store.complete(one, store.run(one)[0], Outcome.DEAD)
    store.deliveries.replay(group, [(entry, "a")])
    assert [ordered.handler] == [letter.handler for letter in store.deliveries.dead(DOMAIN)]


def test_what_is_in_flight_waiting_or_unknown_is_not_replayed(store: Store, group: Group) -> None:
    for name in ("queued", "running", "scheduled"):
        store.emit(name)
    queued, running, due = store.fetch(group).deliveries
    store.claim(group, [running])
    store.complete(group, store.claim(group, [due])[0], Outcome.RETRY)
    waiting = store.emit("waiting")
    pairs = [(queued.entry, "queued"), (running.entry, "running"), (due.entry, "scheduled")]
    pairs += [(waiting, "waiting"), ("1-1", "unknown")]
    assert 0 == store.deliveries.replay(group, pairs)
    assert 0 == store.deliveries.replay(group, [])
    [first, second] = store.fetch(group).deliveries
    assert [due.entry, waiting] == [first.entry, second.entry]
    assert 1 == first.attempts
    assert () == store.fetch(group).deliveries


def test_two_entries_of_an_event_replayed_run_once(store: Store, group: Group) -> None:
    entries = [store.emit("a"), store.emit("a")]
    first, second = store.run(group)
    store.complete(group, first)
    store.complete(group, second, Outcome.IGNORED)
    assert 2 == store.deliveries.replay(group, [(entry, "a") for entry in entries])
    assert [ClaimResult.RUN, ClaimResult.CONCURRENT] == [c.result for c in store.run(group)]


# -- entries that are no events


def invalid(store: Store, group: Group, worker: str = "w1") -> bool:
    [delivery] = store.fetch(group, worker).deliveries
    assert b"not json" == delivery.body
    return store.deliveries.dead_letter_invalid(worker, group, delivery.entry, "no event")


def test_what_is_no_event_becomes_one_dead_letter_over_all_handlers(
    store: Store, group: Group, ordered: Group
) -> None:
    entry = store.event_log.append(DOMAIN, b"not json")
    assert invalid(store, group)
    assert not invalid(store, ordered)
    assert not store.deliveries.dead_letter_invalid("w1", group, entry, "no event")
    [letter] = store.deliveries.dead(DOMAIN)
    assert (entry, "", "no event", 0) == (
        letter.entry, letter.event_key, letter.error, letter.attempts
    )  # fmt: skip
    assert b"not json" == letter.event
    assert (
        None is store.deliveries.pending(group, entry) is store.deliveries.pending(ordered, entry)
    )
    assert {"dead": 1} == store.deliveries.stats(group)


def test_only_what_the_worker_has_queued_is_dead_lettered_as_invalid(
    store: Store, group: Group
) -> None:
    entry = store.event_log.append(DOMAIN, b"not json")
    assert not store.deliveries.dead_letter_invalid("w1", group, entry, "no event")
    store.fetch(group)
    assert not store.deliveries.dead_letter_invalid("w2", group, entry, "no event")
    assert 0 == store.deliveries.dead_count(DOMAIN)


def test_what_is_no_event_is_dead_lettered_again_after_it_was_redriven(
    store: Store, group: Group
) -> None:
    store.event_log.append(DOMAIN, b"not json")
    assert invalid(store, group)
    assert store.deliveries.redrive(group, [(store.deliveries.dead(DOMAIN)[0], b"unused")])
    assert invalid(store, group)
    assert 1 == store.deliveries.dead_count(DOMAIN)


def test_what_is_no_event_does_not_block_the_sequence(store: Store, ordered: Group) -> None:
    store.event_log.append(DOMAIN, b"not json")
    store.emit("a")
    assert invalid(store, ordered)
    assert [body("a")] == [c.body for c in store.run(ordered)]


def test_a_late_word_on_a_dead_delivery_changes_nothing(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.DEAD)
    said = [settled(claimed, Outcome.PROCESSED)]
    assert [claimed.entry] == store.deliveries.complete("w1", group, said)
    [row] = store.deliveries.rows(group, ["a"])
    assert row is not None and DeliveryState.DEAD == row.state


def test_the_history_of_failures_stays_small_however_often_it_is_retried(
    store: Store, group: Group
) -> None:
    """The first attempt and the last ones are kept."""
    store.emit("a")
    for n in range(1, 61):
        [claimed] = store.run(group)
        failure = Failure(attempt=n, at=1000 * n, error=f"boom {n}")
        store.complete(group, claimed, Outcome.RETRY, failure=failure)
    kept = [f.attempt for f in store.deliveries.failures(group, "a")]
    assert kept == [1, *range(61 - (MAX_HISTORY - 1), 61)]
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.DEAD, failure=None)
    assert store.deliveries.dead(DOMAIN)[0].first_failed_ms == 1000
