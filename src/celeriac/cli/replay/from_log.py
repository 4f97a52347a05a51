"""Replay from the event log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator

from celeriac.cli.group import CommandError
from celeriac.cli.replay.request import ReplayRequest
from celeriac.cli.session import Session
from celeriac.cli.show import count
from celeriac.cli.terminal import echo, make_console
from celeriac.delivery import Group
from celeriac.errors import InvalidEvent
from celeriac.event import EventHeader, Matcher, compile_patterns, meant_for, read_header
from celeriac.event_log import GroupInfo, entry_key, group_info
from celeriac.store.factory import Backend
from celeriac.transfer import FIRST_PAGE, next_page, portions

PAGE = 500
# Scheduled deliveries use memory of Redis; events in the log do not use more.
MAX_SCHEDULED = 10_000
POLL_INTERVAL = 0.2  # seconds


def replay_from_log(session: Session, request: ReplayRequest) -> None:
    """Count the events, ask for confirmation, and schedule them."""
    past = Replayer(session.backend, request)
    counts = past.count()
    if request.is_agreed(counts):
        scheduled = _schedule(past, sum(counts.values()), request.note())
        echo(f"{count(scheduled, 'event')} scheduled for {request.record.id}")


class Replayer:
    """Read the events that a handler was given within a time span."""

    def __init__(self, backend: Backend, request: ReplayRequest) -> None:
        self.backend, self.record = backend, request.record
        self._start, self._until_ms = str(request.since_ms), request.until_ms
        self._patterns = compile_patterns(*self.record.patterns)
        self._tenant, pattern = request.tenant, request.pattern
        self._selected = compile_patterns(pattern) if pattern is not None else None

    def count(self) -> Counter[tuple[str, str]]:
        """Return the number of events by domain and type. Raises CommandError as `pages`."""
        return Counter(
            (group.domain, header.type) for group, page in self._wanted() for _, header, _ in page
        )

    def pages(self) -> Iterator[tuple[Group, list[tuple[str, str]]]]:
        """Yield (entry, event key) pairs by domain, oldest first.

        A portion is small enough for one script to read its events. Raises CommandError for a
        missing group.
        """
        for group, page in self._wanted():
            for portion in portions(((entry, header.key), size) for entry, header, size in page):
                yield group, portion

    def _wanted(self) -> Iterator[tuple[Group, list[tuple[str, EventHeader, int]]]]:
        """Yield pages of the entries that the handler wants, with their sizes in bytes."""
        for domain in sorted(self.record.since):
            group = Group(domain, self.record.id, self.record.flow_control)
            start, end, count = self._start, self._end(group), FIRST_PAGE
            while entries := self.backend.event_log.read(domain, start=start, end=end, count=count):
                sizes = [len(entry.body or b"") for entry in entries]
                yield (
                    group,
                    [
                        (entry.id, header, size)
                        for entry, size in zip(entries, sizes, strict=True)
                        if (header := self._wanted_header(domain, entry.body)) is not None
                    ],
                )
                start, count = f"({entries[-1].id}", next_page(sizes, PAGE)

    def group(self, group: Group) -> GroupInfo:
        info = group_info(self.backend.event_log, group.domain, group.handler)
        if info is None:
            raise CommandError(
                f"{group.handler} has no group in the domain {group.domain}. Restart its worker, "
                "which creates the group."
            )
        return info

    def _end(self, group: Group) -> str:
        last = self.group(group).last_delivered
        if self._until_ms is None or entry_key(last)[0] <= self._until_ms:
            return last
        return str(self._until_ms)

    def _wanted_header(self, domain: str, body: bytes | None) -> EventHeader | None:
        try:
            event = read_header(body or b"", domain)
        except InvalidEvent:
            return None
        if self._tenant not in (None, event.tenant):
            return None
        matches = _all_match(event.type, self._patterns, self._selected)
        return event if meant_for(self.record.id, matches, event.handlers) else None


def _all_match(type_: str, *matchers: Matcher | None) -> bool:
    return all(matcher is None or matcher.matches(type_) for matcher in matchers)


def _schedule(past: Replayer, total: int, note: bytes) -> int:
    """Schedule all events, at the pace of the workers; return their number."""
    from rich.progress import Progress

    scheduled = 0
    with Progress(console=make_console(err=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(f"replaying through {past.record.id}", total=total)
        for group, page in past.pages():
            while _scheduled(past.group(group)) > MAX_SCHEDULED - PAGE:
                progress.update(bar, description=f"waiting for {past.record.service} to catch up")
                time.sleep(POLL_INTERVAL)
            scheduled += past.backend.deliveries.replay(group, page, note)
            progress.update(bar, advance=len(page), description=f"replaying {group.domain}")
    return scheduled


def _scheduled(group: GroupInfo) -> int:
    return group.holders.get("scheduled", 0) + group.holders.get("blocked", 0)
