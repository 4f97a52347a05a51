"""Which faults are tried: the same number for each package, chosen by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from devtools.mutants.mutation import Mutation, mutations_of
from devtools.mutants.trial import ROOT

# Package → the tests that are meant for it.
TESTS: dict[str, tuple[str, ...]] = {
    "delivery": ("tests/unit/delivery", "tests/contract"),
    "event_log": ("tests/unit/event_log", "tests/contract"),
    "store": ("tests/unit/store", "tests/unit/event_log", "tests/contract"),
    "dispatcher": ("tests/unit/dispatcher",),
    "executor": (
        "tests/unit/executor", "tests/unit/testing", "tests/unit/worker", "tests/unit/security",
        "tests/unit/dispatcher/test_signed_chunks.py",
    ),
    "outbox": ("tests/unit/outbox", "tests/unit/process", "tests/unit/contrib/django"),
    "inbox": ("tests/unit/inbox", "tests/unit/contrib/django"),
    "process": ("tests/unit/process", "tests/unit/contrib/django"),
    "security": ("tests/unit/security", "tests/unit/subject_keys", "tests/unit/event"),
}  # fmt: skip


def sample(packages: Sequence[str], size: int, seed: int) -> list[tuple[str, Mutation]]:
    """Return the same number of faults for each package, chosen by the seed."""
    random = Random(seed)
    chosen: list[tuple[str, Mutation]] = []
    for n, package in enumerate(packages):
        share = size // len(packages) + (n < size % len(packages))
        mutations = [
            mutation
            for path in sorted((ROOT / "src" / "celeriac" / package).rglob("*.py"))
            for mutation in mutations_of(str(path.relative_to(ROOT)), path.read_text("utf-8"))
        ]
        sampled = random.sample(mutations, min(share, len(mutations)))
        chosen += [(package, mutation) for mutation in sampled]
    return chosen
