"""What becomes of the chunk of a pool process that died, without waiting for the lease."""

from __future__ import annotations

import os
from collections.abc import Sequence

from celeriac.delivery import Claimed, Completion, Outcome, Verdict
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.event_log import Entry
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.executor.completion import with_key
from celeriac.executor.process import ExecutorProcess
from celeriac.executor.work import type_of
from celeriac.handler import Handler


def abandon_chunk(
    process: ExecutorProcess,
    handler: Handler,
    domain: str,
    chunk: str,
    error: BaseException,
    pid: int | None,
) -> int:
    """Settle the open chunk that a process of this worker began with, or the one it was at since.

    The entry that the process `pid` was running failed with `error`. The others become pending and
    due at once, with no attempt counted; where several may be the culprit, none is given up for it.
    Idempotent; blocks for some round trips. Return how many attempts failed.
    """
    group, chunks, worker = handler.group(domain), process.service.backend.chunks, process.worker
    owners = (f"running:{worker}", f"queued:{worker}")
    held = {one.id: one for one in chunks.open_chunks(group) if one.owner in owners}
    # A thread that ended leaves its process, where others go on.
    failed = 0
    place = None if pid == os.getpid() else process.at_hand.chunk_of(pid)
    if place is not None and place.first and (one := held.get(place.chunk)) is not None:
        entries = chunks.left(group, one)
        completion = _completion(process, handler, domain, one, entries, place.of(entries), error)
        if completion is not None:
            failed = len(place.of(entries))
            process.persist_result(lambda: chunks.complete(worker, group, place.chunk, completion))
    ids = {chunk, place.chunk, place.following} if place is not None else {chunk}
    for id in ids & held.keys():
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

    def keep(settled: Sequence[Completion]) -> type[list[str]]:
        failed.extend(settled)
        return list

    work = process.work(handler, domain, {}, keep)
    for entry in entries[suspects.start : suspects.stop]:
        claimed = Claimed(entry.id, Verdict.RUN, 1, entry.body)
        work.fail(claimed, "", type_of(entry.body), error, 0, final=len(suspects) == 1)
    work.flush()
    # Perhaps they ran, and it was not reported: they run again.
    before = [Completion(one.id, "", 1, Outcome.REQUEUED) for one in entries[: suspects.start]]
    bodies = {entry.id: entry for entry in entries}
    return ChunkCompletion(
        until=entries[suspects.stop - 1].id,
        done=suspects.stop,
        exceptions=[with_key(one, bodies[one.entry]) for one in (*before, *failed)],
    )
