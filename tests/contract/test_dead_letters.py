"""What is given up, and how it comes back: dead letters, redriving, replaying."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac.delivery import DeadLetter, EditedLetter, Failure, Lane, Outcome, Place, Verdict
from celeriac.delivery.record import MAX_HISTORY
from celeriac.errors import NotFound
from tests.contract.store import DOMAIN, Store, body, key_of, settled


def bury(store: Store, lane: Lane, event_id: str = "a") -> DeadLetter:
    store.emit(event_id)
    for claimed in store.run(lane):
        assert store.finish(lane, claimed, Outcome.DEAD)
    return store.ledger.dead(DOMAIN, newest_first=True)[0]


def test_a_dead_letter_tells_what_happened(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    for n, outcome in ((1, Outcome.RETRY), (2, Outcome.DEAD)):
        [claimed] = store.run(lane)
        failure = Failure(attempt=n, at=1000 * n, error=f"boom {n}")
        store.finish(lane, claimed, outcome, failure=failure, traceback=f"line {n}")
    [letter] = store.ledger.dead(DOMAIN)
    assert (DOMAIN, lane.handler, entry, "a") == (
        letter.domain, letter.handler, letter.entry, letter.event_key
    )  # fmt: skip
    assert (2, "boom 2", "line 2") == (letter.attempts, letter.error, letter.traceback)
    assert 1000 == letter.first_failed_ms
    assert abs(letter.last_failed_ms - store.registry.now_ms()) < 60_000
    assert body("a") == letter.event
    assert letter == store.ledger.dead_letter(DOMAIN, letter.id)
    assert None is store.ledger.pending(lane, entry)
    assert [1, 2] == [f.attempt for f in store.ledger.failures(lane, "a")]


def test_a_dead_letter_counts_the_attempts_that_ran(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.RETRY)
    [claimed] = store.claim(lane, store.take(lane).deliveries, most=1)
    assert (Verdict.EXHAUSTED, 2) == (claimed.verdict, claimed.attempt)
    store.finish(lane, claimed, Outcome.DEAD, failure=Failure(attempt=1, at=1, error="used up"))
    [letter] = store.ledger.dead(DOMAIN)
    [row] = store.ledger.rows(lane, ["a"])
    assert row is not None
    assert (1, 1) == (letter.attempts, row.attempt)


def test_a_dead_letter_without_a_failure_is_one_all_the_same(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.DEAD, failure=None)
    [letter] = store.ledger.dead(DOMAIN)
    assert letter.first_failed_ms == letter.last_failed_ms
    assert [] == store.ledger.failures(lane, "a")


def test_dead_letters_are_read_from_either_end(store: Store, lane: Lane) -> None:
    a, b, c = (bury(store, lane, name).id for name in "abc")
    read = store.ledger.dead
    assert [a, b, c] == [one.id for one in read(DOMAIN)]
    assert [b] == [one.id for one in read(DOMAIN, after=a, count=1)]
    assert [c, b] == [one.id for one in read(DOMAIN, newest_first=True, count=2)]
    assert [a] == [one.id for one in read(DOMAIN, after=b, newest_first=True)]
    assert 3 == store.ledger.dead_count(DOMAIN)
    assert [] == read("nothing")
    assert 0 == store.ledger.dead_count("nothing")


def test_there_is_no_dead_letter_of_an_id_that_is_none(store: Store) -> None:
    assert None is store.ledger.dead_letter(DOMAIN, "1-1")
    assert None is store.ledger.dead_letter(DOMAIN, "no id at all")


def test_a_discarded_dead_letter_is_gone(store: Store, lane: Lane) -> None:
    letter = bury(store, lane)
    assert 1 == store.ledger.discard(DOMAIN, [letter.id, "1-1"])
    assert 0 == store.ledger.discard(DOMAIN, [letter.id])
    assert 0 == store.ledger.discard(DOMAIN, [])
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert not store.ledger.redrive(lane, [(letter, b"")])


# -- redriving


def test_a_redriven_delivery_begins_anew(store: Store, lane: Lane) -> None:
    letter = bury(store, lane)
    assert store.ledger.redrive(lane, [(letter, b"unused")])
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert [None] == store.ledger.rows(lane, ["a"])
    [claimed] = store.run(lane)
    assert (letter.entry, Verdict.RUN, 1) == (claimed.entry, claimed.verdict, claimed.attempt)
    assert store.finish(lane, claimed)
    assert 1 == store.log.length(DOMAIN)


def test_redriving_twice_is_redriving_once(store: Store, lane: Lane) -> None:
    letter = bury(store, lane)
    assert store.ledger.redrive(lane, [(letter, b"")])
    assert not store.ledger.redrive(lane, [(letter, b"")])
    assert 1 == len(store.run(lane))
    assert not store.ledger.redrive(lane, [(letter, b"")])


def test_redriving_rings_the_bell(store: Store, lane: Lane) -> None:
    letter = bury(store, lane)
    seen = {f"bell {DOMAIN}": "0"}
    store.ledger.redrive(lane, [(letter, b"")])
    assert seen != store.log.wait(seen, 1)


def test_where_the_entry_was_trimmed_the_event_is_appended_addressed(
    make_store: Callable[..., Store],
) -> None:
    store, lane = make_store(retention_count=0), Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    letter = bury(store, lane)
    assert (1, 0) == store.log.trim(DOMAIN, exact=True)
    addressed = body("a", handlers=lane.handler)
    assert store.ledger.redrive(lane, [(letter, addressed)])
    assert not store.ledger.redrive(lane, [(letter, addressed)])
    assert [addressed] == [e.body for e in store.log.read(DOMAIN)]
    [claimed] = store.run(lane)
    assert (Verdict.RUN, 1, addressed) == (claimed.verdict, claimed.attempt, claimed.body)


def test_an_entry_that_a_new_group_is_given_anyway_is_not_redriven_beside_it(
    store: Store, lane: Lane
) -> None:
    letter = bury(store, lane)
    store.log.leave(DOMAIN, lane.handler)
    store.log.join(DOMAIN, lane.handler, "0")
    assert store.ledger.redrive(lane, [(letter, b"")])
    deliveries = store.take(lane).deliveries
    assert [letter.entry] == [one.entry for one in deliveries]
    assert [letter.entry] == [one.entry for one in store.claim(lane, deliveries)]
    assert () == store.take(lane).deliveries
    assert 0 == store.ledger.due(lane)


def test_nothing_is_redriven_or_replayed_for_a_handler_that_left(store: Store, lane: Lane) -> None:
    letter = bury(store, lane)
    store.log.leave(DOMAIN, lane.handler)
    with pytest.raises(NotFound, match=r"billing\.charge is subscribed to nothing"):
        store.ledger.redrive(lane, [(letter, b"")])
    with pytest.raises(NotFound):
        store.ledger.schedule(lane, [(letter.entry, "a")])
    assert 1 == store.ledger.dead_count(DOMAIN)


def test_failures_survive_redrives_with_who_asked(store: Store, lane: Lane) -> None:
    """Each life keeps its attempts; a JSON note comes back as it was."""
    letter, note = bury(store, lane), b'{"who":"ann","did":"redrive","what":"line\\nbreak"}'
    assert store.ledger.redrive(lane, [(letter, b"unused")], note)
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.DEAD, failure=Failure(attempt=1, at=9, error="again"))
    past = store.ledger.history(lane, "a")
    assert [(1, 1), (1, 2)] == [(f.attempt, f.life) for f in past.failures]
    assert [(2, note.decode())] == [(one.life, one.note) for one in past.restarts]
    several = store.ledger.histories(lane, ["nobody", "a"])
    assert [(), past.failures] == [one.failures for one in several]
    assert [] == store.ledger.histories(lane, [])
    [second] = store.ledger.dead(DOMAIN)
    assert past.failures[0].at == second.first_failed_ms, "the first of all lives"
    assert store.ledger.redrive(lane, [(second, b"unused")])
    assert [2, 3] == [one.life for one in store.ledger.history(lane, "a").restarts]


# -- editing


def edited(letter: DeadLetter, id: str = "b") -> EditedLetter:
    return EditedLetter(letter, id, id, "order.placed", body(id, handlers=letter.handler))


def test_an_edited_event_stands_for_a_dead_letter(store: Store, lane: Lane) -> None:
    """One move: the letter goes, the event comes, and the old delivery's history names it."""
    letter, note = bury(store, lane), b'{"who":"ann","did":"edit","what":"a"}'
    assert 1 == store.ledger.edit(lane, [edited(letter)], note)
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert [] == store.ledger.dead_groups(DOMAIN)
    past = store.ledger.history(lane, "a")
    [restart] = past.restarts
    assert ("b", 1, note.decode()) == (restart.edited, restart.life, restart.note)
    assert 1 == past.life, "the old delivery has no other life"
    [row] = store.ledger.rows(lane, ["a"])
    assert row is not None and "dead" == row.state
    [delivery] = store.take(lane).deliveries
    assert "b" == key_of(delivery.body)
    [effects] = store.ledger.effects(lane, ["a"])
    assert [("order.placed", "b")] == [tuple(effect) for effect in effects.named]
    assert [(note, 1)] == [(one.note, one.count) for one in store.ledger.audited(DOMAIN)]


def test_editing_twice_is_editing_once(store: Store, lane: Lane) -> None:
    letter = bury(store, lane)
    assert 1 == store.ledger.edit(lane, [edited(letter)])
    assert 0 == store.ledger.edit(lane, [edited(letter, "c")], b'{"who":"ann"}')
    assert 0 == store.ledger.edit(lane, [])
    assert 2 == store.log.length(DOMAIN)
    assert [] == store.ledger.audited(DOMAIN), "nothing was done"


def test_nothing_is_edited_for_a_handler_that_left(store: Store, lane: Lane) -> None:
    letter = bury(store, lane)
    store.log.leave(DOMAIN, lane.handler)
    with pytest.raises(NotFound):
        store.ledger.edit(lane, [edited(letter)])
    assert (1, 1) == (store.ledger.dead_count(DOMAIN), store.log.length(DOMAIN))


# -- replaying


def test_a_replay_keeps_how_the_life_before_it_ended(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, took_us=1500)
    assert 1 == store.ledger.schedule(lane, [(claimed.entry, "a")], b'{"who":"ann"}')
    [restart] = store.ledger.history(lane, "a").restarts
    assert ("processed", 1, 1500, 2) == (
        restart.ended, restart.attempts, restart.took, restart.life,
    )  # fmt: skip
    assert restart.ended_at is not None and restart.ended_at <= restart.at
    [again] = store.run(lane)
    store.finish(lane, again, Outcome.DEAD, failure=Failure(attempt=1, at=9, error="again"))
    [letter] = store.ledger.dead(DOMAIN)
    assert 9 == letter.first_failed_ms, "the replay is no failure"


@pytest.mark.parametrize("outcome", ["processed", "skipped", "ignored", "dead"])
def test_a_settled_delivery_is_replayed(store: Store, lane: Lane, outcome: str) -> None:
    entry = store.emit("a")
    store.finish(lane, store.run(lane)[0], Outcome(outcome))
    assert 1 == store.ledger.schedule(lane, [(entry, "a"), (entry, "a")])
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert [None] == store.ledger.rows(lane, ["a"])
    [claimed] = store.run(lane)
    assert (entry, Verdict.RUN, 1) == (claimed.entry, claimed.verdict, claimed.attempt)


def test_replaying_leaves_the_dead_letters_of_others(
    store: Store, lane: Lane, ordered: Lane
) -> None:
    entry = store.emit("a")
    for one in (lane, ordered):
        store.finish(one, store.run(one)[0], Outcome.DEAD)
    store.ledger.schedule(lane, [(entry, "a")])
    assert [ordered.handler] == [letter.handler for letter in store.ledger.dead(DOMAIN)]


def test_what_is_in_flight_waiting_or_unknown_is_not_replayed(store: Store, lane: Lane) -> None:
    for name in ("queued", "running", "due"):
        store.emit(name)
    queued, running, due = store.take(lane).deliveries
    store.claim(lane, [running])
    store.finish(lane, store.claim(lane, [due])[0], Outcome.RETRY)
    waiting = store.emit("waiting")
    pairs = [(queued.entry, "queued"), (running.entry, "running"), (due.entry, "due")]
    pairs += [(waiting, "waiting"), ("1-1", "unknown")]
    assert 0 == store.ledger.schedule(lane, pairs)
    assert 0 == store.ledger.schedule(lane, [])
    [first, second] = store.take(lane).deliveries
    assert [due.entry, waiting] == [first.entry, second.entry]
    assert 1 == first.attempts
    assert () == store.take(lane).deliveries


def test_two_entries_of_an_event_replayed_run_once(store: Store, lane: Lane) -> None:
    entries = [store.emit("a"), store.emit("a")]
    first, second = store.run(lane)
    store.finish(lane, first)
    store.finish(lane, second, Outcome.IGNORED)
    assert 2 == store.ledger.schedule(lane, [(entry, "a") for entry in entries])
    assert [Verdict.RUN, Verdict.CONCURRENT] == [c.verdict for c in store.run(lane)]


# -- entries that are no events


def invalid(store: Store, lane: Lane, worker: str = "w1") -> bool:
    [delivery] = store.take(lane, worker).deliveries
    assert b"not json" == delivery.body
    return store.ledger.bury_invalid(worker, lane, delivery.entry, "no event")


def test_what_is_no_event_becomes_one_dead_letter_over_all_handlers(
    store: Store, lane: Lane, ordered: Lane
) -> None:
    entry = store.log.append(DOMAIN, b"not json")
    assert invalid(store, lane)
    assert not invalid(store, ordered)
    assert not store.ledger.bury_invalid("w1", lane, entry, "no event")
    [letter] = store.ledger.dead(DOMAIN)
    assert (entry, "", "no event", 0) == (
        letter.entry, letter.event_key, letter.error, letter.attempts
    )  # fmt: skip
    assert b"not json" == letter.event
    assert None is store.ledger.pending(lane, entry) is store.ledger.pending(ordered, entry)
    assert {"dead": 1} == store.ledger.stats(lane)


def test_only_what_the_worker_holds_queued_is_buried_as_invalid(store: Store, lane: Lane) -> None:
    entry = store.log.append(DOMAIN, b"not json")
    assert not store.ledger.bury_invalid("w1", lane, entry, "no event")
    store.take(lane)
    assert not store.ledger.bury_invalid("w2", lane, entry, "no event")
    assert 0 == store.ledger.dead_count(DOMAIN)


def test_what_is_no_event_is_buried_again_after_it_was_redriven(store: Store, lane: Lane) -> None:
    store.log.append(DOMAIN, b"not json")
    assert invalid(store, lane)
    assert store.ledger.redrive(lane, [(store.ledger.dead(DOMAIN)[0], b"unused")])
    assert invalid(store, lane)
    assert 1 == store.ledger.dead_count(DOMAIN)


def test_what_is_no_event_does_not_close_the_lane(store: Store, ordered: Lane) -> None:
    store.log.append(DOMAIN, b"not json")
    store.emit("a")
    assert invalid(store, ordered)
    assert [body("a")] == [c.body for c in store.run(ordered)]


def test_a_late_word_on_a_dead_delivery_changes_nothing(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.DEAD)
    said = [settled(claimed, Outcome.PROCESSED)]
    assert [claimed.entry] == store.ledger.finish("w1", lane, said)
    [row] = store.ledger.rows(lane, ["a"])
    assert row is not None and Place.DEAD == row.state


def test_the_history_of_failures_stays_small_however_often_it_is_retried(
    store: Store, lane: Lane
) -> None:
    """The first attempt and the last ones are kept."""
    store.emit("a")
    for n in range(1, 61):
        [claimed] = store.run(lane)
        failure = Failure(attempt=n, at=1000 * n, error=f"boom {n}")
        store.finish(lane, claimed, Outcome.RETRY, failure=failure)
    kept = [f.attempt for f in store.ledger.failures(lane, "a")]
    assert kept == [1, *range(61 - (MAX_HISTORY - 1), 61)]
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.DEAD, failure=None)
    assert store.ledger.dead(DOMAIN)[0].first_failed_ms == 1000
