"""A hint for a handler that this worker's code does not have, as in a rolling deployment.

Celery logs such a message and throws it away. The delivery would be healed when its lease is
over; here it is put off for a moment instead, so that a worker with the newer code gets it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import signals

from celeriac.delivery import PUT_OFF_MS, Lane, Outcome, Settled
from celeriac.delivery.chunk_store import Completion
from celeriac.event.attributes import check_handler
from celeriac.service import Service
from celeriac.worker.hinted import read_chunk, read_pairs

log = logging.getLogger(__name__)

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
            lane = Lane(kwargs["domain"], name)
            if "chunk" in kwargs:
                put_off_chunk(service, lane, read_chunk(lane.domain, kwargs["chunk"]))
            else:
                put_off(service, lane, read_pairs(lane.domain, kwargs["events"]))
        except Exception as error:
            log.warning("%s is not in this code; its lease will heal the hint (%s)", name, error)

    return on_unknown


def put_off(service: Service, lane: Lane, hinted: list[tuple[str, str]]) -> None:
    """Claims what the hint names and releases it at once: due in a moment, no attempt counted."""
    ledger, worker = service.backend.ledger, service.worker
    claimed = ledger.claim(worker, lane, hinted, ANY_ATTEMPTS)
    keys = dict(hinted)
    ledger.finish(
        worker,
        lane,
        [
            Settled(c.entry, keys[c.entry], c.attempt, Outcome.RELEASED, delay_ms=PUT_OFF_MS)
            for c in claimed
        ],
    )
    log.warning("%s is not in this worker's code; another worker gets its event", lane.handler)


def put_off_chunk(service: Service, lane: Lane, chunk: str) -> None:
    """Begins an open chunk and releases its entries at once: due in a moment, one by one."""
    chunks, worker = service.backend.chunks, service.worker
    entries = chunks.begin(worker, lane, chunk)
    if not entries:
        return
    released = [Settled(one.id, "", 1, Outcome.RELEASED, delay_ms=PUT_OFF_MS) for one in entries]
    chunks.complete(worker, lane, chunk, Completion(entries[-1].id, len(entries), b"", released))
    log.warning("%s is not in this worker's code; another worker gets its events", lane.handler)
