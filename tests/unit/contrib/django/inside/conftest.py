"""A Django site with two databases, and a bus."""

from __future__ import annotations

from collections.abc import Iterator

import django
import pytest

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

from celeriac import EventBus, Settings  # noqa: E402

TABLES = {f"celeriac_{name}" for name in ("outbox", "inbox", "process", "timer", "process_step")}


def migrate(alias: str) -> None:
    """Apply the migrations, if a table is missing: Django takes a long time to find nothing."""
    if not TABLES <= set(connections[alias].introspection.table_names()):
        call_command("migrate", database=alias, verbosity=0)


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    """Both databases with empty tables."""
    for alias in ("default", "other"):
        migrate(alias)
    yield
    for alias in ("default", "other"):
        migrate(alias)
        with connections[alias].cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table}")
    connections.close_all()


@pytest.fixture
def live(settings: Settings) -> EventBus:
    """A bus on the embedded server."""
    return EventBus(
        service="billing",
        redis_url=settings.redis_url,
        namespace=settings.namespace,
        emit_timeout=10.0,
    )
