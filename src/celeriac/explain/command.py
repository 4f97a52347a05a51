"""Commands that change the result of a check."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from celeriac.explain.fact import Facts


def replay(facts: Facts) -> str:
    """Return the command that replays the event, and others of its type in the same millisecond."""
    if facts.time_ms is None:
        return ""
    first, last = _iso(facts.time_ms), _iso(facts.time_ms + 1)
    type_ = f" --type {facts.event.type}" if facts.event is not None else ""
    return f"celeriac replay {facts.handler} --since {first} --until {last}{type_}"


def resume(handler: str) -> str:
    return f"celeriac handlers resume {handler}"


def redrive(domain: str, id: str) -> str:
    return f"celeriac dead redrive {domain}/{id}"


def edit_command(domain: str, id: str) -> str:
    return f"celeriac dead edit {domain}/{id}"


def emit_for(handler: str, type_: str) -> str:
    return f"celeriac emit {type_} @data.json --handlers {handler}"


def start_worker(queue: str) -> str:
    return f"celery -A MODULE worker -Q {shlex.quote(queue)}"


def _iso(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
