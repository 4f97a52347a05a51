"""Check one service's contracts and handlers against all known others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from celeriac.contract.change import changes
from celeriac.contract.judgement import HandlerReader, Judgement, Writer, judge
from celeriac.contract.lock import Lock, LockedReader

CODE, REGISTRY = "code", "registry"


@dataclass(frozen=True, slots=True)
class Changed:
    """A version whose schema differs from an earlier one with the same number."""

    type: str
    version: int
    found_in: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningReader:
    """The data that a handler reads in running workers."""

    handler: str
    reads: LockedReader
    workers: tuple[str, ...]


@dataclass(slots=True)
class CheckInputs:
    """The inputs of a check: the lock of the `code`, and the lock files `files` and `before`.

    `annotations` is handler → a function that returns what it reads a type as.
    """

    code: Lock | None = None
    annotations: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    files: Mapping[str, Lock] = field(default_factory=dict)
    before: Mapping[str, Lock] = field(default_factory=dict)
    before_name: str = ""
    registered: Sequence[Writer] = ()
    running: Sequence[RunningReader] = ()

    @property
    def service(self) -> str:
        return self.code.service if self.code else ""

    def writers(self) -> list[Writer]:
        """Return each version of each type once per schema, those of the code first."""
        writers: dict[tuple[str, int, str], Writer] = {}
        locks = [*([(self.code, CODE)] if self.code else [])]
        locks += [(lock, f"lock of {name}") for name, lock in self.files.items()]
        locks += [(lock, self.before_name) for lock in self.before.values()]
        for lock, found_in in locks:
            for writer in writers_of(lock, found_in):
                writers.setdefault((writer.type, writer.version, writer.digest), writer)
        for writer in self.registered:
            writers.setdefault((writer.type, writer.version, writer.digest), writer)
        return sorted(writers.values(), key=lambda writer: (writer.type, writer.version))

    def readers(self) -> list[HandlerReader]:
        """Return each handler of code and lock files, and each other form of it that runs."""
        readers: dict[tuple[str, str], HandlerReader] = {}
        for lock in [*([self.code] if self.code else []), *self.files.values()]:
            is_code = lock is self.code
            if not is_code and lock.service == self.service:
                continue  # the code has a newer form of it
            for handler, reads in lock.readers.items():
                readers[handler, reads.digest] = HandlerReader(
                    handler,
                    lock.service,
                    CODE if is_code else f"lock of {lock.service}",
                    reads,
                    self.annotations.get(handler) if is_code else None,
                    is_code,
                )
        for running in self.running:
            key = running.handler, running.reads.digest
            service = running.handler.partition(".")[0]
            there = readers.get(key) or HandlerReader(
                running.handler, service, REGISTRY, running.reads
            )
            readers[key] = replace(there, workers=running.workers)
        return sorted(readers.values(), key=lambda reader: (reader.handler, reader.found_in))

    def changed(self) -> list[Changed]:
        """Return the versions whose schema changed without a new number."""
        first: dict[tuple[str, int], Writer] = {}
        changed = []
        for writer in self.writers():
            there = first.setdefault((writer.type, writer.version), writer)
            if there.digest != writer.digest and self._concerns(there, writer):
                lines = changes(writer.schema, there.schema)
                changed.append(Changed(writer.type, writer.version, writer.found_in, tuple(lines)))
        return changed

    def _concerns(self, *writers: Writer) -> bool:
        owners = {writer.owner for writer in writers}
        return (
            self.code is None
            or bool(owners & {"", self.service})
            or any(writer.found_in == CODE for writer in writers)
        )

    def judge(self) -> Judgement:
        """Judge every pair that the service is part of."""
        writers, readers = self.writers(), self.readers()
        if self.code is None:
            return judge(writers, readers)
        own_types = set(self.code.contracts) | set(
            self.before[self.service].contracts if self.service in self.before else ()
        )
        judgement = Judgement()
        for mine, theirs in (
            ([w for w in writers if w.type in own_types], readers),
            (
                [w for w in writers if w.type not in own_types],
                [r for r in readers if r.service == self.service],
            ),
        ):
            part = judge(mine, theirs)
            judgement.breaks += part.breaks
            judgement.fine += part.fine
        return judgement


def writers_of(lock: Lock, found_in: str) -> Iterable[Writer]:
    """Return the versions of a lock."""
    return [
        Writer(
            type_,
            contract.version,
            contract.schema,
            contract.digest,
            found_in,
            contract.owner or lock.service,
        )
        for type_, contracts in lock.contracts.items()
        for contract in contracts
    ]
