"""Where handlers write what they did."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac.dev.faults.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store.sqlite")
    store.create()
    return store


def test_every_execution_is_a_row(store: Store) -> None:
    for event in ("1", "2", "1"):
        store.began("billing.a", event)
    assert store.runs() == {("billing.a", "1"): 2, ("billing.a", "2"): 1}
    assert store.began_count() == 3
    store.close()


def test_a_guarded_effect_happens_once_for_each_handler_and_event(store: Store) -> None:
    for handler in ("billing.a", "billing.a", "billing.b"):
        store.effect(handler, "1")
    assert store.effects() == {("billing.a", "1"): 1, ("billing.b", "1"): 1}
    assert store.effect_count() == 2
    store.close()


def test_a_second_process_sees_what_the_first_wrote(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "store.sqlite")
    store.effect("billing.a", "1")
    other.effect("billing.a", "1")
    assert sum(other.effects().values()) == 1
    store.close()
    other.close()
