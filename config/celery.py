"""The Celery app and the bus of this process, for the service in CELERIAC_SERVICE, if it is set."""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab
from celery.signals import celeryd_init

from celeriac import EventBus
from config import health, logging
from config.events import EVENTS
from config.services import CHOOSE, chosen_service

service = chosen_service()
# Flower and the command line, which have no service, show the processes in the database.
bus = EventBus(
    service=service.name if service else "",
    outbox_url=None if service is None or service.database else "",
)
for event_type, data in EVENTS.items():
    bus.declare(event_type, data)

app = bus.app
app.conf.update(
    imports=service.modules if service else (),
    worker_concurrency=service.concurrency if service else None,
    task_routes={"tasks.*": {"queue": "orders"}},
    beat_schedule={
        "customer": {"task": "tasks.checkout.serve_customer", "schedule": 5.0},
        "prices": {"task": "tasks.catalogue.import_prices", "schedule": crontab(hour=3, minute=0)},
    },
)
logging.install(bus.settings)
health.install()


@celeryd_init.connect
def need_a_service(**_: Any) -> None:
    """Stop a worker that has no service. Flower, beat and producers need none."""
    if service is None:
        raise SystemExit(CHOOSE)
