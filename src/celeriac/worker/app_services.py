"""Find the services of the bus that are installed on an app."""

from __future__ import annotations

from typing import Any

from celery import Celery

from celeriac.service import Service


def services_of(app: Celery) -> list[Service]:
    """Return the services installed on the app, in no order. See `bootstep.install`."""
    installed: Any = app.steps
    steps = (getattr(step, "service", None) for step in installed["worker"])
    return [service for service in steps if service is not None]
