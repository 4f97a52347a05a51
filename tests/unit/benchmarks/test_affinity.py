"""Where a producer and the server run while one emits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.affinity import separate_cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores, and a system that binds processes to them",
)


@pytest.fixture
def process() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as started:
        yield started.pid
        started.communicate(b"\n")


def test_each_has_a_core_of_its_own_and_is_free_again_afterwards(process: int) -> None:
    free = os.sched_getaffinity(0)
    with separate_cores(os.getpid(), process):
        server, producer = os.sched_getaffinity(0), os.sched_getaffinity(process)
    assert (len(server), len(producer)) == (1, 1)
    assert server.isdisjoint(producer)
    assert os.sched_getaffinity(0) == os.sched_getaffinity(process) == free


def test_they_are_free_again_after_a_failure(process: int) -> None:
    free = os.sched_getaffinity(0)
    with pytest.raises(RuntimeError), separate_cores(os.getpid(), process):
        raise RuntimeError
    assert os.sched_getaffinity(0) == os.sched_getaffinity(process) == free
