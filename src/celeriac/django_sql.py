"""Statements of our own on a connection of Django. Imports Django when it is called."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any

_NAMED = re.compile(r":(\w+)")


def atomic(using: str) -> AbstractContextManager[None]:
    """A transaction on the database, which must not lie within another one."""
    from django.db import transaction

    begin: Any = transaction.atomic
    opened: AbstractContextManager[None] = begin(using=using, durable=True)
    return opened


def for_django(sql: str) -> str:
    """Parameters written `:name` as Django has them, `%(name)s`."""
    return _NAMED.sub(r"%(\1)s", sql)
