"""An event is identified by its id and its source together."""

from __future__ import annotations

from celeriac.delivery import MAX_SOURCES, ClaimResult, Completion, DeliveryState, Group, Outcome
from celeriac.event import event_key
from tests.contract.store import DOMAIN, Store

SHOP, RIVAL = event_key("a", "shop"), event_key("a", "rival")


def emit_both(store: Store) -> list[str]:
    return [store.emit("a", source=source) for source in ("shop", "rival")]


def places(store: Store, group: Group) -> list[DeliveryState | None]:
    return [row.state if row else None for row in store.deliveries.rows(group, [SHOP, RIVAL])]


def test_one_id_of_two_sources_is_two_events(store: Store, group: Group) -> None:
    emit_both(store)
    shop, rival = store.run(group)
    assert [ClaimResult.RUN, ClaimResult.RUN] == [shop.result, rival.result]
    assert store.complete(group, shop)
    assert [DeliveryState.PROCESSED, DeliveryState.RUNNING] == places(store, group)
    assert store.complete(group, rival)
    assert [DeliveryState.PROCESSED, DeliveryState.PROCESSED] == places(store, group)


def test_the_same_id_and_source_again_is_the_same_event(store: Store, group: Group) -> None:
    emit_both(store)
    for claimed in store.run(group):
        store.complete(group, claimed)
    emit_both(store)
    again = store.run(group)
    assert [ClaimResult.DUPLICATE, ClaimResult.DUPLICATE] == [one.result for one in again]


def test_skipping_an_event_claims_the_id_for_its_own_source_alone(
    store: Store, group: Group
) -> None:
    emit_both(store)
    shop, rival = store.fetch(group).deliveries
    for entry, key in ((shop.entry, SHOP), (rival.entry, RIVAL)):
        store.deliveries.skip("w1", group, [Completion(entry, key, 0, Outcome.SKIPPED)])
    assert [DeliveryState.SKIPPED, DeliveryState.SKIPPED] == places(store, group)
    assert 2 == store.deliveries.stats(group)["skipped"]


def test_dead_letters_of_one_id_are_redriven_each_for_itself(store: Store, group: Group) -> None:
    emit_both(store)
    for claimed in store.run(group):
        store.complete(group, claimed, Outcome.DEAD)
    shop, rival = store.deliveries.dead(DOMAIN)
    assert [(SHOP, "a"), (RIVAL, "a")] == [(one.event_key, one.event_id) for one in (shop, rival)]

    assert 1 == store.deliveries.redrive(group, [(rival, b"")])
    assert [DeliveryState.DEAD, None] == places(store, group)
    assert [shop] == store.deliveries.dead(DOMAIN)
    [again] = store.run(group)
    assert (rival.entry, ClaimResult.RUN) == (again.entry, again.result)
    store.complete(group, again)
    assert [DeliveryState.DEAD, DeliveryState.PROCESSED] == places(store, group)
    assert [[1], [1]] == [
        [failure.attempt for failure in one.failures]
        for one in store.deliveries.histories(group, [SHOP, RIVAL])
    ]


def test_a_replay_runs_the_event_of_one_source(store: Store, group: Group) -> None:
    _, second = emit_both(store)
    for claimed in store.run(group):
        store.complete(group, claimed)
    assert 1 == store.deliveries.schedule(group, [(second, RIVAL)])
    assert [DeliveryState.PROCESSED, None] == places(store, group)


def test_a_refused_event_claims_its_id_for_no_source(store: Store, group: Group) -> None:
    forged = store.emit("a", source="shop")
    store.complete(group, store.run(group)[0], Outcome.REFUSED)
    assert [None, None] == places(store, group)
    emit_both(store)
    true, rival = store.run(group)
    assert [ClaimResult.RUN, ClaimResult.RUN] == [true.result, rival.result]
    assert [forged] == [letter.entry for letter in store.deliveries.dead(DOMAIN)]


# -- the sources that are known


def test_sources_are_known_by_domain_the_last_seen_first(store: Store) -> None:
    store.deliveries.note_sources(DOMAIN, {"shop": 1, "rival": 2})
    store.deliveries.note_sources("payment", {"till": 1})
    assert ["rival", "shop"] == store.deliveries.sources(DOMAIN)
    store.deliveries.note_sources(DOMAIN, {"shop": 3})
    store.deliveries.note_sources(DOMAIN, {"shop": 1})
    assert ["shop", "rival"] == store.deliveries.sources(DOMAIN)
    store.deliveries.note_sources(DOMAIN, {})
    assert ["till"] == store.deliveries.sources("payment")
    assert [] == store.deliveries.sources("stock")


def test_the_sources_seen_last_are_kept(store: Store) -> None:
    store.deliveries.note_sources(DOMAIN, {f"s{n}": n for n in range(MAX_SOURCES)})
    store.deliveries.note_sources(DOMAIN, {"new": MAX_SOURCES, "newer": MAX_SOURCES + 1})
    known = store.deliveries.sources(DOMAIN)
    assert ["newer", "new", f"s{MAX_SOURCES - 1}"] == known[:3]
    assert (MAX_SOURCES, "s2") == (len(known), known[-1])
