"""The same service on Celery alone, as carefully set up as Celery can be.

Late acknowledgement, messages of a lost process rejected, prefetch 1, and a visibility timeout so
short that what is left unacknowledged comes back within the run: the default is an hour.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from devtools.faults.apps import handlers

RABBITMQ = os.environ["CELERIAC_BROKER_URL"]
app = Celery("stock", broker=RABBITMQ or os.environ["CELERIAC_REDIS_URL"])
app.conf.update(
    task_default_queue=handlers.SERVICE,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_default_queue_type="quorum" if RABBITMQ else "classic",
    broker_connection_max_retries=None,
    broker_heartbeat=6,
    broker_transport_options={"confirm_publish": True}
    if RABBITMQ
    else {
        "visibility_timeout": float(os.environ["FAULTS_VISIBILITY"]),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
)
if "FAULTS_SOFT" in os.environ:
    app.conf.worker_soft_shutdown_timeout = float(os.environ["FAULTS_SOFT"])


def _register(name: str) -> None:
    def run(event_id: str, data: Any = None) -> None:
        if name == "typed" and not isinstance((data or {}).get("n"), int):
            raise ValueError("n is no number")
        handlers.do(name, event_id, data)

    options: dict[str, Any] = {}
    if name in handlers.HARM:
        options = {"autoretry_for": (Exception,), "max_retries": 1, "default_retry_delay": 0.1}
    app.task(
        run, name=f"{handlers.SERVICE}.{name}", time_limit=handlers.TIME_LIMITS.get(name), **options
    )


if handlers.wide():
    for n in range(handlers.wide()):
        _register(f"wide_{n}")
else:
    for domain in handlers.domains():
        for name in handlers.SUBSCRIBED[domain]:
            _register(name)
