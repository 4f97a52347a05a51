"""The configuration of the shop: `CELERIAC_SERVICE=billing celery -A config worker`."""

from config.celery import app, bus

__all__ = ["app", "bus"]
