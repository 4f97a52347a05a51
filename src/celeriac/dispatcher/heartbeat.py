"""What a worker writes with each beat: that it lives, and what the shared records lost of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from celeriac.event.pattern import literal_domain
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.subscription import Backend

logger = logging.getLogger(__name__)


def beat(backend: Backend, worker: WorkerRecord, own: Mapping[str, HandlerRecord]) -> None:
    """Write the beat, and register again each of the worker's own handlers whose record is missing
    or cannot be read. A registry that was deleted or damaged is whole again within a beat.

    `own` holds the records as the worker registered them. Blocks for some round trips.
    """
    backend.registry.beat(worker)
    named = {literal_domain(pattern) for record in own.values() for pattern in record.patterns}
    backend.log.announce(sorted(d for d in named if d is not None), bounded=False)
    for name in backend.registry.unregistered(own):
        backend.registry.register(own[name])
        logger.warning(
            "%s: its record in the registry was missing or invalid; it is registered again", name
        )
