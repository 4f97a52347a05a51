"""`celeriac tail`"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec
import redis

from celeriac.cli.reveal import reveal_option, shown_data
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console
from celeriac.cli.terminal import echo
from celeriac.cli.time_param import since_option
from celeriac.errors import InvalidEvent
from celeriac.event import (
    Pattern,
    RawEvent,
    check_domain,
    decode,
    masked,
    masked_envelope,
    read_header,
)
from celeriac.event_log import Entry
from celeriac.event_log.follower import Follower
from celeriac.store.redis.connection import is_transient
from celeriac.visible import visible_json

if TYPE_CHECKING:
    from rich.console import Console

WAIT = 0.5  # seconds; the longest time until a new domain is read
AGAIN = 0.5  # seconds between retries while Redis is unreachable
COLORS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_magenta")

Write = Callable[[str, Entry], None]


@click.command()
@click.argument("pattern", default="#")
@click.option("--tenant", metavar="NAME", help="Only events of this tenant: acme")
@since_option("Begin with events emitted since: 2026-11-23T07:00Z, or 15m.")
@click.option("--data", "with_data", is_flag=True, help="Show the data of each event, masked.")
@reveal_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--limit", type=click.IntRange(1), help="Exit after this number of events.")
@pass_session
def tail(
    session: Session,
    pattern: str,
    tenant: str | None,
    since: datetime | None,
    with_data: bool,
    reveal: bool,
    as_json: bool,
    limit: int | None,
) -> None:
    """Follow new events as they are emitted, until interrupted.

    PATTERN is a pattern as in @bus.on: order.*, #.failed. If Redis becomes unreachable, waits and
    continues without a gap.
    """
    wanted = Pattern(pattern)
    follower = Follower(
        session.backend.event_log,
        (pattern,),
        None if since is None else int(since.timestamp() * 1000),
    )
    names = session.settings.sensitive_names
    write = (
        _json_writer(names, with_data or reveal, reveal)
        if as_json
        else _line_writer(console(), names, with_data or reveal, reveal)
    )
    written = 0
    with _ending_quietly():
        for domain, entry in _entries(follower):
            type, of = _addressing(domain, entry)
            if not wanted.matches(type) or tenant not in (None, of):
                continue
            write(domain, entry)
            written += 1
            if written == limit:
                return


def _entries(follower: Follower) -> Iterator[tuple[str, Entry]]:
    """Yield new entries without end. Raises redis.RedisError if Redis was never reachable."""
    reached = away = False
    while True:
        try:
            entries = follower.poll(WAIT)
        except redis.RedisError as error:
            if not reached or not is_transient(error):
                raise
            if not away:
                echo(f"(Redis is unreachable, waiting: {error})", err=True)
            away = True
            time.sleep(AGAIN)
            continue
        if away:
            echo("(Redis is reachable again)", err=True)
        reached, away = True, False
        yield from entries
        if entries:
            sys.stdout.flush()


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """End without an error on an interrupt, or if the reader of the pipe has closed it."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # Otherwise Python reports the error again when it closes the stream.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115


def _addressing(domain: str, entry: Entry) -> tuple[str, str | None]:
    """Return the type and the tenant.

    The type of an entry that is not an event is one that only `#` matches.
    """
    try:
        header = read_header(entry.body or b"", domain)
    except InvalidEvent:
        return "-", None
    return header.type, header.tenant


def _decoded(domain: str, entry: Entry) -> RawEvent | None:
    try:
        event = decode(entry.body or b"")
        check_domain(event.type, domain)
        return event
    except InvalidEvent:
        return None


def _line_writer(out: Console, names: Set[str], with_data: bool, reveal: bool) -> Write:
    from rich.text import Text

    def write(domain: str, entry: Entry) -> None:
        at = datetime.fromtimestamp(entry.time_ms / 1000, UTC)
        event = _decoded(domain, entry)
        head = (f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} ", "dim")
        if event is None:
            line = Text.assemble(head, (f"(no event: entry {entry.id} of {domain})", "red"))
        else:
            # the same domain has the same colour, in every run
            color = COLORS[sum(domain.encode()) % len(COLORS)]
            line = Text.assemble(head, (f"{event.type:<22} ", color), event.id)
            if event.tenant is not None:
                line.append(f"  {event.tenant}", "dim")
            if event.subject is not None:
                line.append(f"  {event.subject}", "bold")
            if with_data and event.data is not None:
                data: Any = event.data if reveal else masked(event, names)
                line.append(f"  {shown_data(data)}", "dim")
        out.print(line, soft_wrap=True)

    return write


def _json_writer(names: Set[str], with_data: bool, reveal: bool) -> Write:
    def write(domain: str, entry: Entry) -> None:
        at = datetime.fromtimestamp(entry.time_ms / 1000, UTC)
        event = _decoded(domain, entry)
        shown: Any = None
        if event is not None:
            shown = masked_envelope(entry.body or b"", names)
            if reveal and event.data is not None:
                shown["data"] = event.data
            elif not with_data:
                shown.pop("data", None)
        line = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            "domain": domain,
            "entry": entry.id,
            "event": shown,
        }
        echo(visible_json(msgspec.json.encode(line).decode()))

    return write
