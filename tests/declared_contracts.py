"""Contracts are of the whole process: what one test declares must not reach another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celeriac.contract import VERSIONS


@contextmanager
def no_contracts() -> Iterator[None]:
    """Begin without any contract, and bring back those from before at the end."""
    before = dict(VERSIONS)
    VERSIONS.clear()
    try:
        yield
    finally:
        VERSIONS.clear()
        VERSIONS.update(before)
