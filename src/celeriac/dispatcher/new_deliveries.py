"""Fetch new deliveries in chunks, and send each chunk as a task.

Groups whose deliveries must be fetched one by one are in pending.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from celeriac.delivery.repetition import Repetitions
from celeriac.dispatcher.context import DispatcherContext
from celeriac.dispatcher.fetching import ChunkFetcher, FetchedChunk
from celeriac.dispatcher.group_state import NEVER, GroupState, is_plain
from celeriac.dispatcher.group_table import idle, poll_at, wake

NONE_REPEATED = Repetitions()


class NewDeliveries:
    """The new deliveries of one dispatcher, in chunks. `is_full`: a group had no chunk slot at the
    last `plan`.

    Methods that block, block for round trips and raise redis.RedisError.
    """

    def __init__(
        self,
        context: DispatcherContext,
        fetcher: ChunkFetcher,
        pool_capacity: Callable[[str], int | None],
    ) -> None:
        self._context = context
        self._fetcher, self._pool_capacity = fetcher, pool_capacity
        self.is_full = False

    def wants(self, state: GroupState) -> bool:
        """Return whether new entries of the group arrive in chunks, not one by one."""
        handler = state.handler
        return (
            state.group in self._context.groups
            and is_plain(handler)
            and self._context.members.may_share(state)
            and self._context.circuits.limit(handler.id) is None
            and not self._context.share.takes_turns(state)
        )

    def read(self) -> None:
        """Read the next entries once for all shared groups."""
        read = self._context.reader.read(
            self._context.members.may_share, self.wants, self._pool_capacity
        )
        for chunk in read.chunks:
            self._note_chunk(chunk)
        wake(read.leaving, new=True)
        self._context.members.join_again(read.removed)

    def fetch(self, now: float, groups: Sequence[GroupState]) -> None:
        """Fetch a chunk for each of these groups that may have new entries."""
        wanted = [
            state
            for state in groups
            if max(state.fetch_at, state.full_until) <= now and not state.is_shared
        ]
        fetched = self._fetcher.fetch(wanted)
        self._context.members.join_again(
            [chunk.state for chunk in fetched if chunk.fetched.removed]
        )
        chunks = [c for c in fetched if not (c.fetched.removed or c.fetched.is_unknown)]
        for chunk in chunks:
            state = chunk.state
            state.position = chunk.fetched.position
            state.fetch_at = now if chunk.more else math.inf
            state.has_backlog = chunk.more > 0
            self._note_chunk(chunk)
        for at_end in (True, False):
            self._context.reader.note_fetched(
                [
                    chunk.state
                    for chunk in chunks
                    if (chunk.more == 0) is at_end and self._context.members.may_share(chunk.state)
                ],
                at_end=at_end,
            )

    def plan(self, now: float, groups: Sequence[GroupState]) -> None:
        """Set the next poll of each group."""
        self.is_full = False
        for state in groups:
            if state.fetch_at <= now and not self._fetcher.has_slot(state):
                self.is_full = True
                if state.full_until <= now:
                    state.full_until = now + state.until_slots(self._context.processes)
                state.fetch_at = state.full_until
            at = state.pending_at if state.is_shared else min(state.pending_at, state.fetch_at)
            if at < math.inf:
                poll_at(state, at)
            elif state.is_shared:
                idle(state, NEVER)
            else:
                state.fetch_at = now + self._context.groups.idle_time(self._context.poll_interval)
                idle(state, state.fetch_at)

    def advance(self, now: float) -> None:
        """Advance shared groups past entries that they do not want, and detect what causes no
        wakeup: expired leases, and groups that are gone."""
        read = self._context.reader.poll(now, self._context.members.may_share)
        wake(read.pending, pending=True)
        wake(read.leaving, new=True)
        self._context.members.join_again(read.removed)

    def _note_chunk(self, chunk: FetchedChunk) -> None:
        """Send a chunk, and apply the state that was fetched with it."""
        state = chunk.state
        if state.group not in self._context.groups:
            return
        state.open_chunks = chunk.fetched.open_chunks
        if self._context.share.note_run_time(state, chunk.fetched.mean_us):
            self._context.requeue(state)
        self._context.members.note_in_force(state, chunk.fetched.patterns)
        if chunk.fetched.entries:
            self._accept_chunk(chunk)

    def _accept_chunk(self, chunk: FetchedChunk) -> None:
        """Send a fetched chunk, or complete it if no entry of it runs.

        If entries repeat others, the rest is claimed one by one.
        """
        state, entries = chunk.state, chunk.fetched.entries
        filtered = chunk.filter_deliveries(self._context.members.retired(state))
        size = sum(len(entry.body or b"") for entry in entries)
        state.size.note(len(entries), len(filtered.wanted), size)
        self._context.sources.add(state.group.domain, filtered.sources)
        if not self.wants(state):
            self._fetcher.requeue(state, chunk.request.chunk)
            wake([state], pending=True)
            return
        repeated = self._fetcher.repetitions(chunk, filtered)
        if chunk.runnable(filtered) and repeated == NONE_REPEATED:
            self._context.tasks.add([chunk.chunk(filtered)])
        elif self._fetcher.complete(chunk, filtered, repeated.certain):
            wake([state], pending=True)
