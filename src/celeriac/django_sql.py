"""Raw SQL on a connection of Django. Imports Django when a function is called."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any

# How the tables of celeriac are created.
MIGRATE = "python manage.py migrate celeriac, with `celeriac.contrib.django` in INSTALLED_APPS"

_NAMED = re.compile(r":(\w+)")


def atomic(using: str) -> AbstractContextManager[None]:
    """Return a transaction on the database. Within another transaction, entering it raises."""
    from django.db import transaction

    begin: Any = transaction.atomic
    context: AbstractContextManager[None] = begin(using=using, durable=True)
    return context


def for_django(sql: str) -> str:
    """Return the SQL with parameters in Django's style, `%(name)s`, instead of `:name`."""
    return _NAMED.sub(r"%(\1)s", sql)
