"""Where handlers write what they did."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from devtools.faults.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store.sqlite")
    store.create()
    return store


def test_every_execution_is_a_row(store: Store) -> None:
    numbers = [store.began("billing.a", event) for event in ("1", "2", "1")]
    store.ended(numbers[1])
    runs = store.runs()
    assert [run.delivery for run in runs] == [("billing.a", event) for event in ("1", "2", "1")]
    assert [run.ended is not None for run in runs] == [False, True, False]
    assert {(run.pid, run.main) for run in runs} == {(os.getpid(), os.getppid())}
    assert store.began_count() == 3
    store.close()


def test_a_guarded_effect_happens_once_for_each_handler_and_event(store: Store) -> None:
    for handler in ("billing.a", "billing.a", "billing.b"):
        store.effect(handler, "1")
    assert store.effects() == {("billing.a", "1"): 1, ("billing.b", "1"): 1}
    assert store.effect_times().keys() == store.effects().keys()
    assert store.effect_count() == 2
    store.close()


def test_a_running_write_keeps_others_out_and_is_seen(store: Store, tmp_path: Path) -> None:
    """A process that is frozen in the middle of one would stop the whole testbed."""
    assert store.is_free(within=0.0)
    with sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not store.is_free(within=0.0)
        other.execute("COMMIT")
    other.close()
    assert store.is_free(within=0.0)
    store.close()


def test_a_second_process_sees_what_the_first_wrote(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "store.sqlite")
    store.effect("billing.a", "1")
    other.effect("billing.a", "1")
    assert sum(other.effects().values()) == 1
    store.close()
    other.close()
