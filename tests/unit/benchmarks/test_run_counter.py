"""What handlers did is counted across threads and processes."""

from __future__ import annotations

import importlib
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import run_counter


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as it is in the process of a candidate."""
    (tmp_path / "runs").touch()
    with monkeypatch.context() as patched:
        patched.setenv(run_counter.VARIABLE, str(tmp_path / "runs"))
        yield importlib.reload(run_counter)
    importlib.reload(run_counter)


def test_counts_of_threads_and_processes_are_added_up(counting: ModuleType, tmp_path: Path) -> None:
    found = counting.RunCounter(tmp_path / "runs")
    assert 0 == found.size
    counting.count()
    process = multiprocessing.get_context("fork").Process(target=counting.count, args=(10,))
    thread = threading.Thread(target=counting.count, args=(100,))
    for one in (process, thread):
        one.start()
        one.join()
    counting.count(1000)
    assert 1111 == found.size
    assert found.wait(1111, 0)


def test_latencies_after_a_size_are_those_that_came_since(
    counting: ModuleType, tmp_path: Path
) -> None:
    found = counting.RunCounter(tmp_path / "runs")
    counting.count(3)
    counting.arrived(0.0)
    before = found.size
    counting.arrived(0.0)
    assert before + counting.LATENCY_BYTES == found.size
    assert 1 == len(found.latencies(before))
