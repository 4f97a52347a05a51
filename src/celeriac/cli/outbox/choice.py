"""Which database's outbox a command is about."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from celeriac.outbox.database import DJANGO, Database, open_database
from celeriac.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def database_options(command: F) -> F:
    database = click.option(
        "--database", metavar="URL", help="As for SQLAlchemy. [CELERIAC_OUTBOX_URL]"
    )
    django = click.option(
        "--django", is_flag=True, help="That of Django: --database is an alias, or default."
    )
    return database(django(command))


def open_chosen(settings: Settings, database: str | None, django: bool) -> Database:
    """Connects to nothing yet."""
    if django:
        database = f"{DJANGO}{database or 'default'}"
    url = database or settings.outbox_url
    if not url:
        raise click.UsageError(
            "which outbox? Give --database URL or --django, or set CELERIAC_OUTBOX_URL"
        )
    if url.startswith(DJANGO):
        _set_up_django()
    return open_database(url)


def _set_up_django() -> None:
    if "" not in sys.path:
        sys.path.insert(0, "")
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise click.UsageError("set DJANGO_SETTINGS_MODULE, e.g. to mysite.settings")
    try:
        import django
    except ModuleNotFoundError:
        raise click.UsageError("Django is not installed here") from None
    django.setup()
