"""What browser tests start as `celery -A watched flower`: an app with a bus, and no handlers."""

from __future__ import annotations

from celeriac import EventBus

bus = EventBus(service="watched")
app = bus.app
