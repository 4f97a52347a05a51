"""A Django site with two databases, and a bus."""

from __future__ import annotations

from collections.abc import Iterator

import django
import pytest

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

from celeriac import EventBus, Settings  # noqa: E402


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    """Both databases with empty tables."""
    for alias in ("default", "other"):
        call_command("migrate", database=alias, verbosity=0)
    yield
    for alias in ("default", "other"):
        call_command("migrate", database=alias, verbosity=0)
        with connections[alias].cursor() as cursor:
            for table in ("outbox", "inbox", "process", "timer", "process_step"):
                cursor.execute(f"DELETE FROM celeriac_{table}")
    connections.close_all()


@pytest.fixture
def live(settings: Settings) -> EventBus:
    """A bus on the embedded server."""
    return EventBus(
        service="billing",
        redis_url=settings.redis_url,
        namespace=settings.namespace,
        emit_timeout=1.0,
    )
