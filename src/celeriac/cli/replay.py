"""`celeriac replay`"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from datetime import datetime

import click

from celeriac.cli.dead.choice import reason_option
from celeriac.cli.group import CommandError
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count, when
from celeriac.cli.terminal import confirm, echo, make_console
from celeriac.cli.time_param import TimeParam, since_option
from celeriac.cli.user import user_name
from celeriac.dead_letter import Note
from celeriac.delivery import Group
from celeriac.errors import InvalidEvent
from celeriac.event import Matcher, compile_patterns, meant_for, read_header
from celeriac.event_log import GroupInfo, entry_key
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.transfer import FIRST_PAGE, next_page, portions

PAGE = 500
# Scheduled deliveries use memory of Redis; events in the log do not use more.
MAX_SCHEDULED = 10_000
POLL_INTERVAL = 0.2  # seconds


@click.command()
@click.argument("handler")
@since_option("Emitted since: 2026-11-23T07:00Z, or 2h.", required=True)
@click.option("--until", type=TimeParam(), metavar="TIME|DURATION", help="Emitted until. [now]")
@click.option("--type", "pattern", metavar="PATTERN", help="Only these types: order.*, #.failed")
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_session
def replay(
    session: Session,
    handler: str,
    since: datetime,
    until: datetime | None,
    pattern: str | None,
    reason: str,
    yes: bool,
) -> None:
    """Run past events through one handler again.

    Also runs events that the handler has processed. Unfinished deliveries and unread events are
    left as they are. If you interrupt it, the events scheduled so far still run.
    """
    record = session.handler(handler)
    past = Replayer(session.backend, record, since, until, pattern)
    number = sum(len(page) for _, page in past.pages())
    if not number:
        echo(f"No events for {handler} in that time.")
        return
    if record.options.get("inbox"):
        echo(
            f"{handler} has an inbox: events that it has processed are not run again, unless you "
            "delete their rows in celeriac_inbox first",
            err=True,
        )
    if not yes:
        confirm(f"Run {count(number, 'event')} through {handler} again?", abort=True)
    note = Note(
        actor=user_name(),
        did="replay",
        what=_what(handler, since, until, pattern),
        via="celeriac",
        operation=secrets.token_hex(8),
        reason=reason,
    ).encode()
    echo(f"{count(_schedule(past, number, note), 'event')} scheduled for {handler}")


class Replayer:
    """Read the events that a handler was given within a time span."""

    def __init__(
        self,
        backend: Backend,
        record: HandlerRecord,
        since: datetime,
        until: datetime | None,
        pattern: str | None,
    ) -> None:
        self.backend, self.record = backend, record
        self._start = str(_ms(since))
        self._until_ms = None if until is None else _ms(until)
        self._patterns = compile_patterns(*record.patterns)
        self._selected = compile_patterns(pattern) if pattern is not None else None

    def pages(self) -> Iterator[tuple[Group, list[tuple[str, str]]]]:
        """Yield (entry, event key) pairs by domain, oldest first.

        A portion is small enough for one script to read its events. Raises Failure for a missing
        group.
        """
        for domain in sorted(self.record.since):
            group = Group(domain, self.record.id, self.record.flow_control)
            start, end, count = self._start, self._end(group), FIRST_PAGE
            while entries := self.backend.event_log.read(domain, start=start, end=end, count=count):
                sizes = [len(entry.body or b"") for entry in entries]
                wanted = (
                    ((entry.id, key), size)
                    for entry, size in zip(entries, sizes, strict=True)
                    if (key := self._wanted_key(domain, entry.body)) is not None
                )
                for portion in portions(wanted):
                    yield group, portion
                start, count = f"({entries[-1].id}", next_page(sizes, PAGE)

    def group(self, group: Group) -> GroupInfo:
        for info in self.backend.event_log.groups(group.domain):
            if info.handler == group.handler:
                return info
        raise CommandError(
            f"{group.handler} has no group in the domain {group.domain}. Restart its worker, which "
            "creates the group."
        )

    def _end(self, group: Group) -> str:
        last = self.group(group).last_delivered
        if self._until_ms is None or entry_key(last)[0] <= self._until_ms:
            return last
        return str(self._until_ms)

    def _wanted_key(self, domain: str, body: bytes | None) -> str | None:
        try:
            event = read_header(body or b"", domain)
        except InvalidEvent:
            return None
        matches = _all_match(event.type, self._patterns, self._selected)
        return event.key if meant_for(self.record.id, matches, event.handlers) else None


def _all_match(type_: str, *matchers: Matcher | None) -> bool:
    return all(matcher is None or matcher.matches(type_) for matcher in matchers)


def _ms(moment: datetime) -> int:
    return max(0, int(moment.timestamp() * 1000))


def _what(handler: str, since: datetime, until: datetime | None, pattern: str | None) -> str:
    to = f" until {when(_ms(until))}" if until is not None else ""
    of = f" type={pattern}" if pattern is not None else ""
    return f"{handler} since {when(_ms(since))}{to}{of}"


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
