"""Wires the shop. `CELERIAC_SERVICE=billing celery -A config worker` starts one of its services."""

from config.celery import app, bus

__all__ = ["app", "bus"]
