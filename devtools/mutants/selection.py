"""Which tests judge a fault, and a plugin of pytest that runs only them, in their order."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterable
from pathlib import Path

import pytest

from devtools.mutants.mutation import Mutation
from devtools.mutants.recording import Recording

SELECTED = "CELERIAC_MUTANTS_SELECTED"
MAX_MEMORY = 8 * 2**30  # bytes of address space: a loop that collects must not fill the machine


def tests_of_line(recording: Recording, mutation: Mutation) -> list[str]:
    """Return the tests that execute one of the fault's lines, the fastest first."""
    lines = set(mutation.lines)
    return _fastest_first(
        recording,
        (name for name, test in recording.items() if lines & test.lines.get(mutation.path, set())),
    )


def tests_of_module(recording: Recording, mutation: Mutation) -> list[str]:
    """Return the tests that execute anything in the fault's module, or nothing of the package.

    The latter may start processes of their own, which are not recorded. If no test executes
    anything in the module, all tests are returned.
    """
    entering = {name for name, test in recording.items() if test.lines.get(mutation.path)}
    others = [name for name, test in recording.items() if not test.lines]
    return _fastest_first(recording, [*entering, *others] if entering else recording)


def _fastest_first(recording: Recording, names: Iterable[str]) -> list[str]:
    usable = [name for name in names if not recording[name].failed]
    return sorted(usable, key=lambda name: recording[name].seconds)


def pytest_configure(config: pytest.Config) -> None:
    """Bound the memory of a run that judges a fault. Child processes inherit the bound."""
    if SELECTED in os.environ:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that the environment's file names, in its order, each with its time limit."""
    if SELECTED not in os.environ:
        return
    limits: dict[str, float] = json.loads(Path(os.environ[SELECTED]).read_text())
    order = {name: position for position, name in enumerate(limits)}
    deselected = [item for item in items if item.nodeid not in order]
    items[:] = sorted(
        (item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid]
    )
    for item in items:
        item.add_marker(pytest.mark.timeout(limits[item.nodeid]), append=False)
    config.hook.pytest_deselected(items=deselected)
