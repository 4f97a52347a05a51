"""The catalog of events: each type with its versions, its owner and its handlers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from celeriac.contract.check import CODE
from celeriac.contract.example import examples
from celeriac.contract.judgement import Break, HandlerReader, Writer, judge_pair
from celeriac.contract.lock import Lock, LockedContract
from celeriac.errors import ConfigurationError

# The source of a reader whose only known part is its patterns.
UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version. `declared_ms` is when a worker first declared it, if known."""

    contract: LockedContract
    service: str
    declared_ms: int = 0
    example: Any = None


@dataclass(frozen=True, slots=True)
class EventConsumer:
    """A handler that gets events of a type.

    `version` is the version that it reads, 0 for any; `fault` is why it breaks on the newest
    version. Without `is_judged`, that was not checked.
    """

    handler: str
    service: str
    version: int
    workers: tuple[str, ...] = ()
    fault: str = ""
    example: str = ""
    is_judged: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """The number of emits of a type and its last time, as far as the log has them."""

    emitted: int = 0
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class EventInfo:
    """One event type. Versions are sorted, the newest last."""

    type: str
    owner: str
    versions: tuple[VersionInfo, ...]
    consumers: tuple[EventConsumer, ...]
    seen: Seen = field(default_factory=Seen)

    @property
    def newest(self) -> VersionInfo | None:
        current = [version for version in self.versions if not version.contract.removed]
        candidates = current or self.versions
        return candidates[-1] if candidates else None

    @property
    def deprecated(self) -> str:
        return self.newest.contract.deprecated if self.newest else ""

    @property
    def broken(self) -> list[EventConsumer]:
        return [consumer for consumer in self.consumers if consumer.fault]


def versions_in(locks: Iterable[Lock]) -> list[tuple[str, VersionInfo]]:
    """Return each version in lock files, with its type."""
    return [
        (type_, VersionInfo(contract, lock.service))
        for lock in locks
        for type_, contracts in lock.contracts.items()
        for contract in contracts
    ]


def make_catalog(
    versions: Iterable[tuple[str, VersionInfo]],
    readers: Sequence[HandlerReader],
    seen: Mapping[str, Seen] | None = None,
) -> list[EventInfo]:
    """Return the catalog by type, including emitted types without a contract."""
    seen = seen or {}
    by_type: dict[str, dict[int, VersionInfo]] = {type_: {} for type_ in seen}
    for type_, version in versions:
        by_type.setdefault(type_, {}).setdefault(version.contract.version, version)
    catalog = []
    for type_, type_versions in sorted(by_type.items()):
        ordered = [_with_example(version) for _, version in sorted(type_versions.items())]
        info = EventInfo(type_, "", tuple(ordered), (), seen.get(type_, Seen()))
        newest = info.newest
        owner = (newest.contract.owner or newest.service) if newest else ""
        consumers = tuple(
            _consumer(type_, newest, reader) for reader in readers if reader.wants(type_)
        )
        catalog.append(EventInfo(type_, owner, info.versions, consumers, info.seen))
    return catalog


def _with_example(version: VersionInfo) -> VersionInfo:
    example = next(examples(version.contract.schema), None)
    return VersionInfo(version.contract, version.service, version.declared_ms, example)


def _consumer(type_: str, newest: VersionInfo | None, reader: HandlerReader) -> EventConsumer:
    version = reader.reads.of(type_).versions.get(type_, 0)
    if newest is None or reader.found_in == UNKNOWN:
        return EventConsumer(
            reader.handler, reader.service, version, reader.workers, is_judged=False
        )
    contract = newest.contract
    writer = Writer(type_, contract.version, contract.schema, contract.digest, CODE, contract.owner)
    try:
        break_ = _judged(_Pair(writer, reader))
    except ConfigurationError:  # the extra is not installed
        return EventConsumer(
            reader.handler, reader.service, version, reader.workers, is_judged=False
        )
    reason, example = (break_.reason, break_.example) if break_ else ("", "")
    return EventConsumer(reader.handler, reader.service, version, reader.workers, reason, example)


class _Pair:
    """A writer and a reader; pairs with equal digests are equal."""

    def __init__(self, writer: Writer, reader: HandlerReader) -> None:
        self.writer, self.reader = writer, reader
        self._is = (writer.type, writer.version, writer.digest, reader.reads.digest, reader.is_code)

    def __hash__(self) -> int:
        return hash(self._is)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pair) and self._is == other._is


# A page checks the same pairs every few seconds.
@lru_cache(maxsize=4096)
def _judged(pair: _Pair) -> Break | None:
    return judge_pair(pair.writer, pair.reader)
