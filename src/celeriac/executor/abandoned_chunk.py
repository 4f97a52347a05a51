"""Complete the chunk of a dead pool process without waiting for the lease."""

from __future__ import annotations

import os
from collections.abc import Sequence

from celeriac.delivery import Claimed, ClaimResult, Completion, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.delivery.pending_reply import PendingReply, ReceivedReply
from celeriac.event import type_in
from celeriac.event_log import Entry
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.executor.completion import with_key
from celeriac.executor.process import ExecutorProcess
from celeriac.handler import Handler


def abandon_chunk(
    process: ExecutorProcess,
    handler: Handler,
    domain: str,
    chunk: str,
    error: BaseException,
    pid: int | None,
) -> int:
    """Complete the open chunk that a dead process of this worker was running.

    This is the chunk that its task began with, or a later one. The entry that the process `pid` was
    running failed with `error`. The other entries become pending and due at once, without counting
    an attempt; if several may have ended the process, none is dead-lettered for it. Idempotent;
    blocks for a few round trips. Returns the number of failed attempts.
    """
    group, chunks, worker = handler.group(domain), process.service.backend.chunks, process.worker
    owners = (f"running:{worker}", f"queued:{worker}")
    owned = {open_.id: open_ for open_ in chunks.open_chunks(group) if open_.owner in owners}
    # A thread that ended leaves its process, where others continue.
    failed = 0
    position = None if pid == os.getpid() else process.shared_progress.chunk_of(pid)
    if position is not None and position.first and (current := owned.get(position.chunk)):
        entries = chunks.remaining(group, current)
        running = position.of(entries)
        completion = _completion(process, handler, domain, current, entries, running, error)
        if completion is not None:
            failed = len(running)
            process.persist_result(
                lambda: chunks.complete(worker, group, position.chunk, completion)
            )
    ids = {chunk}
    if position is not None:
        ids |= {position.chunk, position.following}
    for id in ids & owned.keys():
        chunks.requeue(worker, group, id)
    return failed


def _completion(
    process: ExecutorProcess,
    handler: Handler,
    domain: str,
    chunk: OpenChunk,
    entries: Sequence[Entry],
    suspects: range,
    error: BaseException,
) -> ChunkCompletion | None:
    if not suspects:
        return None
    failed: list[Completion] = []

    def keep(completions: Sequence[Completion]) -> PendingReply[list[str]]:
        failed.extend(completions)
        return ReceivedReply([])

    work = process.work(handler, domain, {}, keep)
    for entry in entries[suspects.start : suspects.stop]:
        claimed = Claimed(entry.id, ClaimResult.RUN, 1, entry.body)
        work.fail(claimed, "", type_in(entry.body), error, 0, final=len(suspects) == 1)
    work.reporter.flush()
    # Entries before these may have run unreported: they run again.
    before = [Completion(entry.id, "", 1, Outcome.REQUEUED) for entry in entries[: suspects.start]]
    bodies = {entry.id: entry for entry in entries}
    return ChunkCompletion(
        until=entries[suspects.stop - 1].id,
        done=suspects.stop,
        exceptions=[with_key(c, bodies[c.entry]) for c in (*before, *failed)],
    )
