"""Which services of the bus an app has: where `EventBus(app)` left them."""

from __future__ import annotations

from celery import Celery

from celeriac.subscription import Service


def services_of(app: Celery) -> list[Service]:
    """The services installed on the app, in no order. See `bootstep.install`."""
    steps = (getattr(step, "service", None) for step in app.steps["worker"])
    return [service for service in steps if service is not None]
