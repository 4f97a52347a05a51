"""Which broker an app sends to. Celery accepts one URL, several in one string, or a list."""

from __future__ import annotations

from celery import Celery

from celeriac.redis_url import address


def broker_url(app: Celery) -> str:
    """Return the first URL that the app publishes to; kombu tries them in order."""
    configured = app.conf.broker_write_url or app.conf.broker_url or "amqp://"
    urls = configured.split(";") if isinstance(configured, str) else list(configured)
    return str(urls[0]).strip() if urls else "amqp://"


def broker_address(app: Celery) -> str:
    """Return the broker's URL without its credentials, for messages."""
    return address(broker_url(app))
