"""A hint for a handler that this worker's code does not have, as in a rolling deployment.

Celery logs such a message and throws it away. The delivery would be healed when its lease is
over; here it is put off for a moment instead, so that a worker with the newer code gets it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import signals

from celeriac.delivery import REQUEUE_DELAY_MS, Completion, Group, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.event.attributes import check_handler
from celeriac.service import Service
from celeriac.worker.delivery_task import read_chunk, read_pairs

logger = logging.getLogger(__name__)

ANY_ATTEMPTS = 1_000_000


def put_off_unknown(service: Service) -> None:
    """Puts off the deliveries of unknown hints of this service. Errors are left to the lease."""
    signals.task_unknown.connect(_receiver(service), weak=False)


def _receiver(service: Service) -> Callable[..., None]:
    def on_unknown(sender: Any, message: Any, name: str = "", **_: Any) -> None:
        if not str(name).startswith(f"{service.settings.service}."):
            return
        try:
            _, kwargs, _ = message.decode()
            check_handler(name)
            group = Group(kwargs["domain"], name)
            if "chunk" in kwargs:
                put_off_chunk(service, group, read_chunk(group.domain, kwargs["chunk"]))
            else:
                put_off(service, group, read_pairs(group.domain, kwargs["events"]))
        except Exception as error:
            logger.warning("%s is not in this code; its lease will heal the hint (%s)", name, error)

    return on_unknown


def put_off(service: Service, group: Group, pairs: list[tuple[str, str]]) -> None:
    """Claims what the hint names and releases it at once: due in a moment, no attempt counted."""
    deliveries, worker = service.backend.deliveries, service.worker
    claimed = deliveries.claim(worker, group, pairs, ANY_ATTEMPTS)
    keys = dict(pairs)
    deliveries.complete(
        worker,
        group,
        [
            Completion(
                c.entry, keys[c.entry], c.attempt, Outcome.REQUEUED, delay_ms=REQUEUE_DELAY_MS
            )
            for c in claimed
        ],
    )
    logger.warning("%s is not in this worker's code; another worker gets its event", group.handler)


def put_off_chunk(service: Service, group: Group, chunk: str) -> None:
    """Begins an open chunk and releases its entries at once: due in a moment, one by one."""
    chunks, worker = service.backend.chunks, service.worker
    entries = chunks.begin(worker, group, chunk)
    if not entries:
        return
    released = [
        Completion(one.id, "", 1, Outcome.REQUEUED, delay_ms=REQUEUE_DELAY_MS) for one in entries
    ]
    chunks.complete(
        worker, group, chunk, ChunkCompletion(entries[-1].id, len(entries), b"", released)
    )
    logger.warning("%s is not in this worker's code; another worker gets its events", group.handler)
