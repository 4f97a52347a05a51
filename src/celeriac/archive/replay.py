"""Replay events of an archive through one handler: each once, also if the process is killed.

The position of a replay is stored in Redis with the events that it schedules, in one transition.
So a replay that is repeated continues where it ended.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from celeriac.archive.replay_options import ArchiveReplayOptions, Progress
from celeriac.archive.selection import COUNTED, Selection
from celeriac.archive.storage import MAX_TIME_MS, ArchiveFile, Storage, files_within
from celeriac.delivery import ArchivedDelivery, ArchiveReplay, ArchiveReplayStep, Group, StepEnd
from celeriac.errors import ArchiveError, NotFound
from celeriac.event import compile_patterns
from celeriac.event_log import GroupInfo, entry_key, group_info
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.transfer import portions

STEP = 500  # events that are scheduled in one transition, at most
COUNT_ROWS = 10_000
# Each unfinished event uses memory of Redis.
MAX_IN_FLIGHT = 10_000
POLL = 0.2  # seconds
JOIN_TIMEOUT = 15.0  # seconds


@dataclass(frozen=True, slots=True)
class DomainReplay:
    """The part of a replay in one domain, with the files that it reads."""

    group: Group
    replay: ArchiveReplay
    files: Sequence[ArchiveFile]


class ArchiveReplayer:
    """A replay of events from an archive through one handler.

    Call `begin`, then `run`. Both can be repeated, also by several processes at a time: each event
    is scheduled once. `about` describes the options in messages. Methods block for round trips,
    and raise ArchiveError if the archive cannot be read.

    Raises SubscriptionError for an invalid pattern.
    """

    def __init__(
        self,
        backend: Backend,
        storage: Storage,
        record: HandlerRecord,
        options: ArchiveReplayOptions,
        about: str = "",
    ) -> None:
        self.backend, self.storage, self.record, self.options = backend, storage, record, options
        self.about = about
        self.operation = options.operation(record.id)
        patterns = [compile_patterns(*record.patterns)]
        if options.pattern is not None:
            patterns.append(compile_patterns(options.pattern))
        self._matchers = tuple(patterns)
        self._domains: list[DomainReplay] = []

    def count(self) -> Counter[tuple[str, str]]:
        """Return the number of selected events by domain and type. Reads all files of the time."""
        selection, counts = self._selection(self._until_ms(())), Counter[tuple[str, str]]()
        for domain, files in self._files(selection).items():
            for file in files:
                span = {"since_ms": selection.since_ms, "until_ms": selection.until_ms}
                for batch in self.storage.batches(file, COUNTED, rows=COUNT_ROWS, **span):
                    for type, number in selection.count(batch).items():
                        counts[domain, type] += number
        return counts

    def begin(self, note: bytes, *, again: bool = False, replaces: bool = False) -> bool:
        """Record that the replay begins; return False if it is finished.

        An unfinished replay continues. With `again`, a finished one begins again. With `replaces`,
        it takes the place of an unfinished one with other options.

        Raises ArchiveError if another replay is unfinished, and NotFound if the handler has no
        consumer group.
        """
        until = self.options.until_ms
        # Listed once: an object store takes a request for each day.
        listed = self._files(self._selection(MAX_TIME_MS if until is None else until))
        same = self._stored(listed)
        started_ms = max((replay.started_ms for replay in same), default=0)
        if not same or (again and all(replay.is_finished for replay in same)):
            started_ms = max(started_ms + 1, self._now_ms())
        # A killed process can have begun a replay again in some domains only.
        until_ms = self._until_ms([each for each in same if each.started_ms == started_ms])
        new = ArchiveReplay(
            operation=self.operation, until_ms=until_ms, about=self.about, started_ms=started_ms
        )
        self._domains = []
        for domain, files in self._within(listed, until_ms).items():
            group = self._joined(domain)
            stored = self.backend.deliveries.begin_archive_replay(
                group, new, note, replaces=replaces
            )
            if stored.operation != self.operation:
                raise ArchiveError(
                    f"{group.handler} has an unfinished replay: {stored.about}. Continue it with "
                    "these arguments, or add --replace to give it up"
                )
            self._domains.append(DomainReplay(group, stored, files))
        return not all(each.replay.is_finished for each in self._domains)

    @property
    def files(self) -> int:
        """The number of files of the replay. Call `begin` first."""
        return sum(len(each.files) for each in self._domains)

    @property
    def progress(self) -> Progress:
        """How far the replay was when it began. Call `begin` first."""
        return Progress(
            "",
            scheduled=sum(each.replay.scheduled for each in self._domains),
            kept=sum(each.replay.kept for each in self._domains),
        )

    def run(self, note: bytes, report: Callable[[Progress], None] = lambda _: None) -> Progress:
        """Schedule the events at the pace of the handler; return the progress at the end.

        `report` is called after each step, and while the replay waits for the handler. Raises
        ArchiveError if another replay took the place of this one.
        """
        progress, files = self.progress, 0
        for each in self._domains:
            progress = replace(progress, domain=each.group.domain, files=files)
            others = progress.scheduled - each.replay.scheduled, progress.kept - each.replay.kept
            for reached, step in self._steps(each, note):
                if step is None:
                    report(replace(progress, is_waiting=True))
                    continue
                progress = replace(
                    progress,
                    files=files + reached,
                    scheduled=others[0] + step.scheduled,
                    kept=others[1] + step.kept,
                )
                report(progress)
            files += len(each.files)
        return replace(progress, domain="", files=files)

    # -- one domain

    def _steps(
        self, domain: DomainReplay, note: bytes
    ) -> Iterator[tuple[int, ArchiveReplayStep | None]]:
        """Yield the number of files that were read, and the last step; None while it waits."""
        if domain.replay.is_finished:
            return
        files, reached = domain.files, entry_key(domain.replay.position)
        for at, file in enumerate(files):
            if at + 1 < len(files) and entry_key(files[at + 1].first) <= reached:
                continue
            for deliveries in self._deliveries(file, domain.replay):
                yield from ((at, step) for step in self._schedule(domain.group, deliveries, note))
        last = self._schedule(domain.group, (), note, is_last=True)
        yield from ((len(files), step) for step in last)

    def _deliveries(
        self, file: ArchiveFile, replay: ArchiveReplay
    ) -> Iterator[list[ArchivedDelivery]]:
        """Yield the selected events of a file after the position, in portions."""
        selection, after = self._selection(replay.until_ms), entry_key(replay.position)
        for batch in self.storage.batches(
            file, rows=STEP, since_ms=selection.since_ms, until_ms=selection.until_ms
        ):
            yield from portions(
                (delivery, len(delivery.addressed))
                for delivery in selection.deliveries(batch)
                if entry_key(delivery.entry) > after
            )

    def _schedule(
        self,
        group: Group,
        deliveries: Sequence[ArchivedDelivery],
        note: bytes,
        *,
        is_last: bool = False,
    ) -> Iterator[ArchiveReplayStep | None]:
        """Schedule the events; yield each step, and None before each wait."""
        while True:
            while not self._has_room(group):
                yield None
                time.sleep(POLL)
            step = self.backend.deliveries.replay_archived(
                group, self.operation, deliveries, note, is_last=is_last
            )
            if step.end is StepEnd.REPLACED:
                raise ArchiveError(
                    f"another replay took the place of this replay of {group.handler}. Events that "
                    "were scheduled still run"
                )
            yield step
            if step.end is StepEnd.DONE:
                return
            yield None
            time.sleep(POLL)

    def _has_room(self, group: Group) -> bool:
        info = self._info(group)
        if info is None:
            raise _no_group(group)
        ahead = info.lag
        if ahead is None:  # the server does not know it
            after = f"({info.last_delivered}"
            following = self.backend.event_log.read(group.domain, start=after, count=STEP)
            ahead = 0 if len(following) < STEP else MAX_IN_FLIGHT
        return ahead + sum(info.holders.values()) <= MAX_IN_FLIGHT - STEP

    # -- parts

    def _stored(self, listed: Mapping[str, Sequence[ArchiveFile]]) -> list[ArchiveReplay]:
        """Return what is recorded of this replay in its domains."""
        domains = self._within(listed, self._until_ms(()))
        replays = (self.backend.deliveries.archive_replay(self._group(d)) for d in domains)
        return [each for each in replays if each is not None and each.operation == self.operation]

    def _selection(self, until_ms: int) -> Selection:
        return Selection(
            handler=self.record.id,
            matchers=self._matchers,
            since_ms=self.options.since_ms,
            tenant=self.options.tenant,
            until_ms=until_ms,
        )

    def _now_ms(self) -> int:
        return self.backend.registry.now_ms()

    def _until_ms(self, begun: Sequence[ArchiveReplay]) -> int:
        if begun:
            return begun[0].until_ms
        return self._now_ms() if self.options.until_ms is None else self.options.until_ms

    def _files(self, selection: Selection) -> dict[str, list[ArchiveFile]]:
        """Return the files of each domain that can have selected events."""
        span = selection.since_ms, selection.until_ms
        domains = selection.domains(self.storage.domains())
        files = {domain: self.storage.files(domain, *span) for domain in domains}
        return {domain: some for domain, some in files.items() if some}

    def _within(
        self, listed: Mapping[str, Sequence[ArchiveFile]], until_ms: int
    ) -> dict[str, list[ArchiveFile]]:
        """Return those of the listed files that can have events until this time."""
        since_ms = self.options.since_ms
        files = {domain: files_within(some, since_ms, until_ms) for domain, some in listed.items()}
        return {domain: some for domain, some in files.items() if some}

    def _group(self, domain: str) -> Group:
        return Group(domain, self.record.id, self.record.flow_control)

    def _info(self, group: Group) -> GroupInfo | None:
        return group_info(self.backend.event_log, group.domain, group.handler)

    def _joined(self, domain: str) -> Group:
        """Return the handler's group. A domain that was removed as empty is registered again, so
        that the handler's workers join it."""
        group, until = self._group(domain), time.monotonic() + JOIN_TIMEOUT
        if self._info(group) is None:
            self.backend.event_log.register_domains([domain], bounded=False)
        while self._info(group) is None:
            if time.monotonic() >= until:
                raise _no_group(group)
            time.sleep(POLL)
        return group


def _no_group(group: Group) -> NotFound:
    return NotFound(
        f"{group.handler} has no group in the domain {group.domain}. Start its worker, which "
        "creates the group"
    )
