"""The hook by which an emit joins the current database transaction.

An integration that can detect the current transaction, such as Django's, sets `find`. Without an
integration it is None, which costs an emit one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Write = Callable[[Sequence[dict[str, Any]]], None]

# Takes the name of a database, or None for the default. Returns a function that writes rows in the
# open transaction of that database, or None if no transaction is open.
find: Callable[[str | None], Write | None] | None = None
