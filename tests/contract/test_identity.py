"""An event is identified by its id and its source together."""

from __future__ import annotations

from celeriac.delivery import MAX_SOURCES, Lane, Outcome, Place, Settled, Verdict
from celeriac.event import event_key
from tests.contract.store import DOMAIN, Store

SHOP, RIVAL = event_key("a", "shop"), event_key("a", "rival")


def emit_both(store: Store) -> list[str]:
    return [store.emit("a", source=source) for source in ("shop", "rival")]


def places(store: Store, lane: Lane) -> list[Place | None]:
    return [row.state if row else None for row in store.ledger.rows(lane, [SHOP, RIVAL])]


def test_one_id_of_two_sources_is_two_events(store: Store, lane: Lane) -> None:
    emit_both(store)
    shop, rival = store.run(lane)
    assert [Verdict.RUN, Verdict.RUN] == [shop.verdict, rival.verdict]
    assert store.finish(lane, shop)
    assert [Place.PROCESSED, Place.RUNNING] == places(store, lane)
    assert store.finish(lane, rival)
    assert [Place.PROCESSED, Place.PROCESSED] == places(store, lane)


def test_the_same_id_and_source_again_is_the_same_event(store: Store, lane: Lane) -> None:
    emit_both(store)
    for claimed in store.run(lane):
        store.finish(lane, claimed)
    emit_both(store)
    again = store.run(lane)
    assert [Verdict.DUPLICATE, Verdict.DUPLICATE] == [one.verdict for one in again]


def test_skipping_an_event_claims_the_id_for_its_own_source_alone(store: Store, lane: Lane) -> None:
    emit_both(store)
    shop, rival = store.take(lane).deliveries
    for entry, key in ((shop.entry, SHOP), (rival.entry, RIVAL)):
        store.ledger.skip("w1", lane, [Settled(entry, key, 0, Outcome.SKIPPED)])
    assert [Place.SKIPPED, Place.SKIPPED] == places(store, lane)
    assert 2 == store.ledger.stats(lane)["skipped"]


def test_dead_letters_of_one_id_are_redriven_each_for_itself(store: Store, lane: Lane) -> None:
    emit_both(store)
    for claimed in store.run(lane):
        store.finish(lane, claimed, Outcome.DEAD)
    shop, rival = store.ledger.dead(DOMAIN)
    assert [(SHOP, "a"), (RIVAL, "a")] == [(one.event_key, one.event_id) for one in (shop, rival)]

    assert 1 == store.ledger.redrive(lane, [(rival, b"")])
    assert [Place.DEAD, None] == places(store, lane)
    assert [shop] == store.ledger.dead(DOMAIN)
    [again] = store.run(lane)
    assert (rival.entry, Verdict.RUN) == (again.entry, again.verdict)
    store.finish(lane, again)
    assert [Place.DEAD, Place.PROCESSED] == places(store, lane)
    assert [[1], [1]] == [
        [failure.attempt for failure in one.failures]
        for one in store.ledger.histories(lane, [SHOP, RIVAL])
    ]


def test_a_replay_runs_the_event_of_one_source(store: Store, lane: Lane) -> None:
    _, second = emit_both(store)
    for claimed in store.run(lane):
        store.finish(lane, claimed)
    assert 1 == store.ledger.schedule(lane, [(second, RIVAL)])
    assert [Place.PROCESSED, None] == places(store, lane)


def test_a_refused_event_claims_its_id_for_no_source(store: Store, lane: Lane) -> None:
    forged = store.emit("a", source="shop")
    store.finish(lane, store.run(lane)[0], Outcome.REFUSED)
    assert [None, None] == places(store, lane)
    emit_both(store)
    true, rival = store.run(lane)
    assert [Verdict.RUN, Verdict.RUN] == [true.verdict, rival.verdict]
    assert [forged] == [letter.entry for letter in store.ledger.dead(DOMAIN)]


# -- the sources that are known


def test_sources_are_known_by_domain_the_last_seen_first(store: Store) -> None:
    store.ledger.note_sources(DOMAIN, {"shop": 1, "rival": 2})
    store.ledger.note_sources("payment", {"till": 1})
    assert ["rival", "shop"] == store.ledger.sources(DOMAIN)
    store.ledger.note_sources(DOMAIN, {"shop": 3})
    store.ledger.note_sources(DOMAIN, {"shop": 1})
    assert ["shop", "rival"] == store.ledger.sources(DOMAIN)
    store.ledger.note_sources(DOMAIN, {})
    assert ["till"] == store.ledger.sources("payment")
    assert [] == store.ledger.sources("stock")


def test_the_sources_seen_last_are_kept(store: Store) -> None:
    store.ledger.note_sources(DOMAIN, {f"s{n}": n for n in range(MAX_SOURCES)})
    store.ledger.note_sources(DOMAIN, {"new": MAX_SOURCES, "newer": MAX_SOURCES + 1})
    known = store.ledger.sources(DOMAIN)
    assert ["newer", "new", f"s{MAX_SOURCES - 1}"] == known[:3]
    assert (MAX_SOURCES, "s2") == (len(known), known[-1])
