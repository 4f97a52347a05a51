"""How long the registry in memory keeps workers and targets, and which clock it stamps with."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from celeriac.registry.scale_target import FORGET_TARGET_AFTER_MS, ScaleTargetRecord
from celeriac.store.memory import clock
from celeriac.store.memory.clock import MemoryClock, ProcessClock
from celeriac.store.memory.contracts import MemoryContracts
from celeriac.store.memory.registry import MemoryRegistry

NOW = 1_700_000_000_000


@pytest.fixture
def time_s(monkeypatch: pytest.MonkeyPatch) -> float:
    """The time of this process, in seconds."""
    seconds = 12.3456
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: seconds))
    return seconds


def test_the_clocks_of_a_process_count_milliseconds(time_s: float) -> None:
    assert ProcessClock().now_ms() == 12_345
    assert MemoryClock().now_ms() == 12_345
    memory = MemoryClock(0)
    memory.advance(7)
    assert memory.now_ms() == 7


@pytest.mark.parametrize(("late_ms", "is_kept"), [(0, True), (1, False)])
def test_a_scale_target_is_kept_for_its_time(late_ms: int, is_kept: bool) -> None:
    memory = MemoryClock(NOW)
    kept = MemoryRegistry(memory)
    target = ScaleTargetRecord(service="billing", cooldown=1.0, workers=2, requested_ms=NOW)
    kept.note_scale_target(target)
    memory.advance(FORGET_TARGET_AFTER_MS + late_ms)
    assert kept.scale_targets() == ({target.name: target} if is_kept else {})


def test_contracts_are_stamped_with_the_given_clock() -> None:
    given = MemoryClock(7)
    assert MemoryContracts(given).clock is given
    assert isinstance(MemoryContracts().clock, ProcessClock)
