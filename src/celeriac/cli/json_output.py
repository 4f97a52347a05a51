"""`--json`: one JSON document. Each `<name>_ms` is repeated in ISO 8601 as `<name>`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from celeriac.cli.terminal import echo
from celeriac.visible import visible_json

# The names in a stored failure; see delivery/record.py.
FAILURE_TIMES = {"at": "at_ms", "ended_at": "ended_at_ms", "took": "took_us"}

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def print_json(value: Any) -> None:
    """Print a struct, dataclass or plain value."""
    plain = msgspec.json.decode(msgspec.json.encode(value))
    document = msgspec.json.format(msgspec.json.encode(_with_iso(plain)), indent=2)
    echo(visible_json(document.decode()))


def _with_iso(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_iso(item) for item in value]
    if not isinstance(value, dict):
        return value
    shown: dict[str, Any] = {}
    for stored, item in value.items():
        name = FAILURE_TIMES.get(stored, str(stored))
        # the content of an event, and the state of a process, stay as they are
        shown[name] = item if name in ("data", "event", "state") else _with_iso(item)
        if name.endswith("_ms"):
            shown[name.removesuffix("_ms")] = None if item is None else iso(item)
    return shown


def iso(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
