"""Decide whether a reader accepts everything that a writer can write, or find a counterexample.

There are two independent oracles. jsoncompat compares the schemas, but gives no reason and ignores
`format`. Decoding generated data with the real reader finds a counterexample, which is shown to
people. If only one of them objects, that is reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from celeriac.contract.example import examples
from celeriac.contract.foreign_reader import foreign_reader
from celeriac.contract.lock import LockedReader
from celeriac.contract.normal_form import Schema
from celeriac.contract.reading import read_data
from celeriac.contract.schema_uri import schema_uri
from celeriac.errors import InvalidData
from celeriac.event import Event, compile_patterns
from celeriac.extra import needing

# The format in which reading.py reports it.
_REASON = re.compile(r": (data(?:[.\[].*)?: .*?)(?:\. Deploy a worker that reads .*)?$", re.DOTALL)

# Returns why the data of a version does not match; empty if it does.
Decode = Callable[[str, int, bytes], str]


@dataclass(frozen=True, slots=True)
class Writer:
    """One version of an event type and its origin: `code`, a lock file, `registry`."""

    type: str
    version: int
    schema: Schema = field(compare=False)
    digest: str
    found_in: str
    owner: str = ""

    @property
    def title(self) -> str:
        return f"{self.type} v{self.version}"


@dataclass(frozen=True, slots=True)
class HandlerReader:
    """One handler as in the code, in a lock file, or in running workers."""

    handler: str
    service: str
    found_in: str
    reads: LockedReader
    # Returns what the handler reads a type as, if its code is available.
    annotation_of: Callable[[str], Any] | None = None
    is_code: bool = False
    workers: tuple[str, ...] = ()

    def wants(self, type_: str) -> bool:
        return compile_patterns(*self.reads.patterns).matches(type_)


@dataclass(frozen=True, slots=True)
class Break:
    """A reader that rejects data of a writer. Without an example, only the schemas differ."""

    writer: Writer
    reader: HandlerReader
    reason: str
    example: str = ""


@dataclass(slots=True)
class Judgement:
    """All pairs. `fine` holds those without a fault, by writer."""

    breaks: list[Break] = field(default_factory=list)
    fine: list[tuple[Writer, HandlerReader]] = field(default_factory=list)


def judge(writers: Collection[Writer], readers: Collection[HandlerReader]) -> Judgement:
    """Judge every writer against every reader that wants its type. Takes a few ms per pair."""
    judgement = Judgement()
    for writer in writers:
        for reader in readers:
            if not reader.wants(writer.type):
                continue
            break_ = judge_pair(writer, reader)
            if break_ is None:
                judgement.fine.append((writer, reader))
            else:
                judgement.breaks.append(break_)
    return judgement


def judge_pair(writer: Writer, reader: HandlerReader) -> Break | None:
    """Return the break, with an example if one is found; None if the reader accepts the data."""
    reads = reader.reads.of(writer.type)
    target = reads.versions.get(writer.type, writer.version)
    is_upcast = writer.version in reads.upcasts.get(writer.type, ())
    if writer.version < target and is_upcast and not reader.is_code:
        return None  # needs upcasters that are not available: its own service checks them
    decode = _decoded_by(reader, writer.type)
    for example in examples(writer.schema):
        data = msgspec.json.encode(example)
        if reason := decode(writer.type, writer.version, data):
            return Break(writer, reader, reason, data.decode())
    if not (writer.version < target and is_upcast) and not within(writer.schema, reads.schema):
        return Break(writer, reader, "the schema allows data that the reader's does not")
    return None


def within(written: Schema, read: Schema) -> bool:
    """Return whether one schema allows everything that the other allows, as jsoncompat sees it."""
    if not read or written == read:
        return True
    with needing("contracts", "celeriac contracts check"):
        import jsoncompat
    try:
        return bool(jsoncompat.check_compat(json.dumps(read), json.dumps(written), "serializer"))
    except ValueError:  # a keyword that it does not support; decoding still checks it
        return True


def shortened(error: InvalidData) -> str:
    """Return only the reason, without the event and the remedy."""
    match = _REASON.search(str(error))
    return match[1] if match else str(error)


def _decoded_by(reader: HandlerReader, event_type: str) -> Decode:
    if not reader.is_code:
        return foreign_reader(reader.reads.of(event_type).schema)
    assert reader.annotation_of is not None
    annotation = reader.annotation_of(event_type)

    def decode(type_: str, version: int, data: bytes) -> str:
        event: Event[Any] = Event(
            id="example",
            source="celeriac",
            type=type_,
            dataschema=schema_uri(type_, version),
            data=msgspec.Raw(data),
        )
        try:
            read_data(event, annotation)
        except InvalidData as error:
            return shortened(error)
        return ""

    return decode
