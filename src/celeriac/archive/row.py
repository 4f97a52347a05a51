"""Rows of an archive: a log entry as the columns of Parquet, and back. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import msgspec
import pyarrow as pa

from celeriac.errors import InvalidEvent
from celeriac.event import Event, Extensions, decode, encode
from celeriac.event.attributes import OPTIONAL, REQUIRED
from celeriac.event.build import BINARY
from celeriac.event_log import entry_time_ms

# Attributes of an event that are columns as they are.
TEXTS = (*REQUIRED, *OPTIONAL)

SCHEMA = pa.schema(
    [
        pa.field("entry", pa.string(), nullable=False),
        # The time in the entry id: when the event was appended, by the clock of Redis.
        pa.field("appended", pa.timestamp("ms", tz="UTC"), nullable=False),
        *(pa.field(name, pa.string()) for name in TEXTS),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("handlers", pa.list_(pa.string())),
        pa.field("extensions", pa.map_(pa.string(), pa.string())),
        # The data as JSON text; bytes (`data_base64`) are in `data_binary`.
        pa.field("data", pa.string()),
        pa.field("data_binary", pa.binary()),
        # The event as it is in the log, only where it cannot be rebuilt from the other columns:
        # signed events, JSON of other producers, and entries that are not events.
        pa.field("body", pa.binary()),
    ]
)

Row = dict[str, Any]


class ArchivedEvent(msgspec.Struct, frozen=True):
    """An event of an archive: its entry in the event log, and its JSON there, byte by byte."""

    entry: str
    body: bytes


def row_of(entry: str, body: bytes) -> Row:
    """Return the row of an entry. Never raises for an invalid event: its `body` is kept."""
    try:
        event = decode(body)
    except InvalidEvent:
        return {"entry": entry, "appended": entry_time_ms(entry), "body": body}
    row = {"entry": entry, "appended": entry_time_ms(entry), **_columns(event)}
    if rebuilt(row) != body:
        row["body"] = body
    return row


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return the rows as one batch."""
    return pa.RecordBatch.from_pylist(cast("list[Any]", rows), schema=SCHEMA)


def events_of(batch: pa.RecordBatch) -> Iterator[ArchivedEvent]:
    """Yield the events of a batch, as they were in the log."""
    for row in batch.to_pylist():
        body = row["body"]
        if body is None:
            body = rebuilt(row) or b""
        yield ArchivedEvent(row["entry"], body)


def _columns(event: Event[Any]) -> Row:
    row: Row = {name: getattr(event, name) for name in TEXTS}
    row["time"] = event.time
    row["handlers"] = list(event.handlers) or None
    extensions: Mapping[str, Any] = event.extensions
    row["extensions"] = {name: _text(value) for name, value in extensions.items()} or None
    row["data"] = row["data_binary"] = None
    if isinstance(event.data, BINARY):
        row["data_binary"] = bytes(event.data)
    elif event.data is not None:
        row["data"] = _utf8(bytes(event.data))
    return row


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def rebuilt(row: Row) -> bytes | None:
    """Return the JSON of the event in the form in which `emit` writes it; None if it has none."""
    data: Any = None
    if row["data"] is not None:
        data = msgspec.Raw(row["data"].encode())
    elif row["data_binary"] is not None:
        data = row["data_binary"]
    time: datetime | None = row["time"]
    event: Event[Any] = Event(
        **{name: row[name] for name in TEXTS},
        time=time,
        handlers=tuple(row["handlers"] or ()),
        extensions=Extensions(dict(row["extensions"] or {})),
        data=data,
    )
    try:
        return encode(event, valid=True)
    except InvalidEvent:
        return None
