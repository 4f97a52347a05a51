"""The instances of processes, for metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from celeriac.observability.metrics.snapshot import InstanceCount, ReadInstances, no_instances
from celeriac.outbox.database import open_database
from celeriac.process.query import counts, has_processes
from celeriac.settings import Settings

logger = logging.getLogger(__name__)


def reader(settings: Settings) -> ReadInstances:
    """Return a function that reads the instances in the database of `outbox_url`, if it is set.

    The function blocks. It returns nothing for a database that has no processes or is unavailable.
    """
    if not settings.outbox_url:
        return no_instances

    def read() -> Sequence[InstanceCount]:
        try:
            return _read(settings.outbox_url)
        except Exception as error:
            # Metrics of the bus do not depend on a service's database.
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            logger.warning("celeriac: reading the instances of processes failed: %s", reason)
            return ()

    return read


def _read(url: str) -> Sequence[InstanceCount]:
    database = open_database(url)
    try:
        rows = counts(database) if has_processes(database) else []
    finally:
        database.close()
    now_ms = time.time() * 1000
    return [
        InstanceCount(row.handler, row.status.value, row.number, (now_ms - row.oldest_ms) / 1000)
        for row in rows
    ]
