"""What a pool process does with a delivery task."""

from __future__ import annotations

from celeriac.dispatcher import Chunk
from celeriac.executor import Executor, Report
from celeriac.service import Service


def run_task(service: Service, chunk: Chunk) -> Report:
    """Run an open chunk, or the pending deliveries that the task names."""
    executor, domain = Executor(service), chunk.group.domain
    if chunk.id:
        return executor.chunks.execute(
            chunk.handler, domain, chunk.id, chunk.entries, more=chunk.more
        )
    return executor.execute(chunk.handler, domain, chunk.pairs)
