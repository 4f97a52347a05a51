"""Whether a reader takes all that a writer can write, and if not, data that it does not take.

Two independent oracles. jsoncompat compares the schemas, but gives no reason and ignores `format`.
Decoding what the writer can write by the real reader finds a counterexample, which is also what
people see. Where only one of them objects, that is reported.
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

# As event/reader.py writes it.
_REASON = re.compile(r": (data(?:[.\[].*)?: .*?)(?:\. Deploy a worker that reads .*)?$", re.DOTALL)

# Returns why the data of a version does not fit; empty where it does.
Decode = Callable[[str, int, bytes], str]


@dataclass(frozen=True, slots=True)
class Writer:
    """One version of an event type, and where it was found: `code`, a lock file, `registry`."""

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
class Reader:
    """One handler as it is in the code, in a lock file, or in running workers."""

    handler: str
    service: str
    found_in: str
    reads: LockedReader
    annotation: Any = None  # where its code is at hand
    is_code: bool = False
    workers: tuple[str, ...] = ()

    def wants(self, type_: str) -> bool:
        return compile_patterns(*self.reads.patterns).matches(type_)


@dataclass(frozen=True, slots=True)
class Break:
    """A reader that does not take what a writer can write. No example: the schemas say so."""

    writer: Writer
    reader: Reader
    reason: str
    example: str = ""


@dataclass(slots=True)
class Judgement:
    """All pairs. `fine` holds those without a fault, by the writer."""

    breaks: list[Break] = field(default_factory=list)
    fine: list[tuple[Writer, Reader]] = field(default_factory=list)


def judge(writers: Collection[Writer], readers: Collection[Reader]) -> Judgement:
    """Judge every writer against every reader that wants its type. Takes some ms for each pair."""
    judgement = Judgement()
    for writer in writers:
        for reader in readers:
            if not reader.wants(writer.type):
                continue
            found = judge_pair(writer, reader)
            if found is None:
                judgement.fine.append((writer, reader))
            else:
                judgement.breaks.append(found)
    return judgement


def judge_pair(writer: Writer, reader: Reader) -> Break | None:
    """Return what breaks, with an example where one is found."""
    target = reader.reads.versions.get(writer.type, writer.version)
    is_upcast = writer.version in reader.reads.upcasts.get(writer.type, ())
    if writer.version < target and is_upcast and not reader.is_code:
        return None  # by upcasters that are not at hand: its own service checks them
    decode = _decoded_by(reader)
    for example in examples(writer.schema):
        data = msgspec.json.encode(example)
        if reason := decode(writer.type, writer.version, data):
            return Break(writer, reader, reason, data.decode())
    if not (writer.version < target and is_upcast) and not within(
        writer.schema, reader.reads.schema
    ):
        return Break(writer, reader, "the schema allows data that the reader's does not")
    return None


def within(written: Schema, read: Schema) -> bool:
    """Whether all that one schema allows is allowed by the other, as far as jsoncompat can say."""
    if not read or written == read:
        return True
    with needing("contracts", "celeriac contracts check"):
        import jsoncompat
    try:
        return bool(jsoncompat.check_compat(json.dumps(read), json.dumps(written), "serializer"))
    except ValueError:  # a keyword that it does not know; the decoding is left
        return True


def shortened(error: InvalidData) -> str:
    """Return the reason alone: what is before and after it names the event and the remedy."""
    found = _REASON.search(str(error))
    return found[1] if found else str(error)


def _decoded_by(reader: Reader) -> Decode:
    if not reader.is_code:
        return foreign_reader(reader.reads.schema)

    def decode(type_: str, version: int, data: bytes) -> str:
        event: Event[Any] = Event(
            id="example",
            source="celeriac",
            type=type_,
            dataschema=schema_uri(type_, version),
            data=msgspec.Raw(data),
        )
        try:
            read_data(event, reader.annotation)
        except InvalidData as error:
            return shortened(error)
        return ""

    return decode
