"""Choose the database of the outbox."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from celeriac.extra import needing
from celeriac.outbox.database import DJANGO, Database, open_database
from celeriac.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def database_options(command: F) -> F:
    database = click.option(
        "--database", metavar="URL", help="Database, as for SQLAlchemy. [CELERIAC_OUTBOX_URL]"
    )
    django = click.option(
        "--django", is_flag=True, help="Use Django's database; --database is its alias."
    )
    return database(django(command))


def open_chosen(
    settings: Settings, database: str | None, django: bool
) -> tuple[Database, Settings]:
    """Return the database, not connected yet, and the settings.

    For a database of Django, Django's settings are loaded too.
    """
    if django:
        database = f"{DJANGO}{database or 'default'}"
    url = database or settings.outbox_url
    if not url:
        raise click.UsageError(
            "The outbox is missing. Pass --database URL or --django, or set CELERIAC_OUTBOX_URL."
        )
    if url.startswith(DJANGO):
        _set_up_django()
        given = click.get_current_context().find_root().params
        settings = Settings.load(redis_url=given.get("redis_url"), namespace=given.get("namespace"))
    return open_database(url), settings


class OfDatabase(click.Group):
    """A group whose commands turn errors of the database into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        with faults_in_one_line():
            return super().invoke(ctx)


@contextmanager
def faults_in_one_line() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        theirs = ("sqlalchemy.", "django.", "psycopg")
        # OSError: a missing lock file
        if not (isinstance(error, OSError) or type(error).__module__.startswith(theirs)):
            raise
        message = str(error).partition("\n")[0]
        raise click.ClickException(f"the database of the outbox failed: {message}") from None


def _set_up_django() -> None:
    if "" not in sys.path:
        sys.path.insert(0, "")
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise click.UsageError(
            "DJANGO_SETTINGS_MODULE is not set. Set it, for example to mysite.settings."
        )
    with needing("django", "--django"):
        import django
    django.setup()
