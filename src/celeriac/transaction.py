"""Transactions that an emit joins by itself, without being handed one.

An integration that knows of the transaction in force, as Django does, sets `find`. It is None
where there is no such integration, which costs an emit one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Write = Callable[[Sequence[dict[str, Any]]], None]

# Takes the name of a database, or None for the usual one; returns what writes rows in the
# transaction that is open there, or None where none is.
find: Callable[[str | None], Write | None] | None = None
