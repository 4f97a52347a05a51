"""Requeue deliveries for a handler that this worker's code does not have.

This happens in a rolling deployment. Celery logs such a message and drops it. Lease expiry would
recover the delivery; requeueing it sends it to a worker with the newer code within a second.
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


def requeue_unknown(service: Service) -> None:
    """Requeue the deliveries of tasks of this service that the app does not have.

    If requeueing fails, lease expiry recovers the deliveries.
    """
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
                requeue_chunk(service, group, read_chunk(group.domain, kwargs["chunk"]))
            else:
                requeue_deliveries(service, group, read_pairs(group.domain, kwargs["events"]))
        except Exception as error:
            logger.warning(
                "%s is not in this worker's code, and requeueing its deliveries failed (%s); "
                "lease expiry recovers them",
                name,
                error,
            )

    return on_unknown


def requeue_deliveries(service: Service, group: Group, pairs: list[tuple[str, str]]) -> None:
    """Requeue the deliveries of a task, without counting an attempt."""
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
    _warn_requeued(group, len(claimed))


def requeue_chunk(service: Service, group: Group, chunk: str) -> None:
    """Requeue the entries of an open chunk as separate deliveries, without counting an attempt."""
    chunks, worker = service.backend.chunks, service.worker
    entries = chunks.begin(worker, group, chunk)
    if not entries:
        return
    requeued = [
        Completion(entry.id, "", 1, Outcome.REQUEUED, delay_ms=REQUEUE_DELAY_MS)
        for entry in entries
    ]
    chunks.complete(
        worker, group, chunk, ChunkCompletion(entries[-1].id, len(entries), b"", requeued)
    )
    _warn_requeued(group, len(entries))


def _warn_requeued(group: Group, events: int) -> None:
    number = "1 event" if events == 1 else f"{events} events"
    logger.warning("%s is not in this worker's code; requeued %s", group.handler, number)
