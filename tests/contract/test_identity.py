"""An event is identified by its id and its source together."""

from __future__ import annotations

from celeriac.delivery import MAX_SOURCES, Group, Outcome, Place, Settled, Verdict
from celeriac.event import event_key
from tests.contract.store import DOMAIN, Store

SHOP, RIVAL = event_key("a", "shop"), event_key("a", "rival")


def emit_both(store: Store) -> list[str]:
    return [store.emit("a", source=source) for source in ("shop", "rival")]


def places(store: Store, group: Group) -> list[Place | None]:
    return [row.state if row else None for row in store.ledger.rows(group, [SHOP, RIVAL])]


def test_one_id_of_two_sources_is_two_events(store: Store, group: Group) -> None:
    emit_both(store)
    shop, rival = store.run(group)
    assert [Verdict.RUN, Verdict.RUN] == [shop.verdict, rival.verdict]
    assert store.finish(group, shop)
    assert [Place.PROCESSED, Place.RUNNING] == places(store, group)
    assert store.finish(group, rival)
    assert [Place.PROCESSED, Place.PROCESSED] == places(store, group)


def test_the_same_id_and_source_again_is_the_same_event(store: Store, group: Group) -> None:
    emit_both(store)
    for claimed in store.run(group):
        store.finish(group, claimed)
    emit_both(store)
    again = store.run(group)
    assert [Verdict.DUPLICATE, Verdict.DUPLICATE] == [one.verdict for one in again]


def test_skipping_an_event_claims_the_id_for_its_own_source_alone(
    store: Store, group: Group
) -> None:
    emit_both(store)
    shop, rival = store.take(group).deliveries
    for entry, key in ((shop.entry, SHOP), (rival.entry, RIVAL)):
        store.ledger.skip("w1", group, [Settled(entry, key, 0, Outcome.SKIPPED)])
    assert [Place.SKIPPED, Place.SKIPPED] == places(store, group)
    assert 2 == store.ledger.stats(group)["skipped"]


def test_dead_letters_of_one_id_are_redriven_each_for_itself(store: Store, group: Group) -> None:
    emit_both(store)
    for claimed in store.run(group):
        store.finish(group, claimed, Outcome.DEAD)
    shop, rival = store.ledger.dead(DOMAIN)
    assert [(SHOP, "a"), (RIVAL, "a")] == [(one.event_key, one.event_id) for one in (shop, rival)]

    assert 1 == store.ledger.redrive(group, [(rival, b"")])
    assert [Place.DEAD, None] == places(store, group)
    assert [shop] == store.ledger.dead(DOMAIN)
    [again] = store.run(group)
    assert (rival.entry, Verdict.RUN) == (again.entry, again.verdict)
    store.finish(group, again)
    assert [Place.DEAD, Place.PROCESSED] == places(store, group)
    assert [[1], [1]] == [
        [failure.attempt for failure in one.failures]
        for one in store.ledger.histories(group, [SHOP, RIVAL])
    ]


def test_a_replay_runs_the_event_of_one_source(store: Store, group: Group) -> None:
    _, second = emit_both(store)
    for claimed in store.run(group):
        store.finish(group, claimed)
    assert 1 == store.ledger.schedule(group, [(second, RIVAL)])
    assert [Place.PROCESSED, None] == places(store, group)


def test_a_refused_event_claims_its_id_for_no_source(store: Store, group: Group) -> None:
    forged = store.emit("a", source="shop")
    store.finish(group, store.run(group)[0], Outcome.REFUSED)
    assert [None, None] == places(store, group)
    emit_both(store)
    true, rival = store.run(group)
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
