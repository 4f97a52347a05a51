"""The lock file of a service, for git: its contracts, and what its handlers read.

`contracts/<service>.json`. Versions that were removed from the code stay in it, because their
events can still be in the log, in dead letters or in an archive.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema
from celeriac.contract.versions import VERSIONS, Contract, Versions, where
from celeriac.errors import ConfigurationError, InvalidEvent, SubscriptionError
from celeriac.event import compile_patterns
from celeriac.event.annotation import annotation_name
from celeriac.event.attributes import check_handler, check_type

FORMAT = 1
DIRECTORY = "contracts"


class LockedContract(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version. `removed`: the code no longer has it."""

    version: int
    digest: str
    owner: str = ""
    deprecated: str = ""
    doc: str = ""
    removed: bool = False
    schema: dict[str, Any]


class LockedReader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data that one handler reads.

    `versions` are those that its annotation names, by type; `upcasts` the older versions of each
    type that its upcasters accept. A process reads what its `methods` read.
    """

    patterns: tuple[str, ...]
    model: str = ""
    versions: dict[str, int] = {}
    upcasts: dict[str, tuple[int, ...]] = {}
    schema: dict[str, Any] = {}
    methods: tuple[LockedReader, ...] = ()

    def of(self, type_: str) -> LockedReader:
        """Return what reads events of a type: the first method that matches, or the handler."""
        matching = (m for m in self.methods if compile_patterns(*m.patterns).matches(type_))
        return next(matching, self)

    def check_patterns(self) -> None:
        """Raise SubscriptionError for an invalid pattern."""
        for reader in (self, *self.methods):
            compile_patterns(*reader.patterns)

    @property
    def digest(self) -> str:
        return digest(msgspec.to_builtins(self))


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """The contracts and readers of a service."""

    format: int = FORMAT
    service: str
    contracts: dict[str, tuple[LockedContract, ...]] = {}
    readers: dict[str, LockedReader] = {}


class InvalidLock(ConfigurationError):
    """A lock file is invalid."""


def lock_of(service: str, handlers: Iterable[Any]) -> Lock:
    """Return the lock of the current code of a service.

    `handlers` are its handlers. It holds the contracts that the service owns, and those without an
    owner.
    """
    owned = {
        type_: tuple(
            locked_contract(contract)
            for _, contract in sorted(versions.contracts.items())
            if contract.owner in ("", service)
        )
        for type_, versions in sorted(VERSIONS.items())
    }
    return Lock(
        service=service,
        contracts={type_: contracts for type_, contracts in owned.items() if contracts},
        readers={h.id: locked_reader(h) for h in sorted(handlers, key=lambda h: h.id)},
    )


def locked_contract(contract: Contract) -> LockedContract:
    """Return a contract with the schema of written data."""
    schema = written_schema(contract.model)
    return LockedContract(
        version=contract.version,
        digest=digest(schema),
        owner=contract.owner,
        deprecated=contract.deprecated,
        doc=(contract.model.__doc__ or "").strip().partition("\n")[0],
        schema=schema,
    )


def locked_reader(handler: Any) -> LockedReader:
    """Return what a handler reads."""
    if not handler.methods:
        return _locked_reader(handler)
    return LockedReader(
        patterns=tuple(handler.patterns),
        methods=tuple(_locked_reader(method) for method in handler.methods),
    )


def _locked_reader(reader: Any) -> LockedReader:
    annotation = reader.data_type
    read = [v for t, v in sorted(VERSIONS.items()) if v.contracts and reader.matcher.matches(t)]
    return LockedReader(
        patterns=tuple(reader.patterns),
        model=where(annotation) if isinstance(annotation, type) else annotation_name(annotation),
        versions={versions.type: versions.read_by(annotation) for versions in read},
        upcasts={v.type: older for v in read if (older := _upcast(v, v.read_by(annotation)))},
        schema=read_schema(annotation),
    )


def _upcast(versions: Versions, target: int) -> tuple[int, ...]:
    """Return the versions from which a chain of upcasters leads to the target."""
    older = []
    for version in sorted(versions.upcasters):
        try:
            older += [version] if version < target and list(versions.chain(version, target)) else []
        except SubscriptionError:
            continue
    return tuple(version for version in older if version >= versions.oldest(target))


def merged(lock: Lock, before: Lock | None) -> Lock:
    """Return the lock, plus removed versions of the previous lock."""
    if before is None:
        return lock
    contracts = dict(lock.contracts)
    for type_, old in before.contracts.items():
        there = {contract.version for contract in contracts.get(type_, ())}
        kept = [msgspec.structs.replace(c, removed=True) for c in old if c.version not in there]
        sorted_contracts = sorted(
            (*contracts.get(type_, ()), *kept), key=lambda contract: contract.version
        )
        contracts[type_] = tuple(sorted_contracts)
    return msgspec.structs.replace(lock, contracts=dict(sorted(contracts.items())))


def without(lock: Lock, type_: str, versions: Collection[int]) -> Lock:
    """Return the lock without versions of a type that the code no longer has."""
    remaining = tuple(
        c for c in lock.contracts.get(type_, ()) if not (c.removed and c.version in versions)
    )
    contracts = lock.contracts | {type_: remaining}
    return msgspec.structs.replace(lock, contracts={t: c for t, c in contracts.items() if c})


def encode_lock(lock: Lock) -> bytes:
    """Return the file's content, sorted and indented for readable diffs."""
    text = json.dumps(msgspec.to_builtins(lock), indent=2, ensure_ascii=False, sort_keys=True)
    return text.encode() + b"\n"


def decode_lock(raw: bytes, name: str) -> Lock:
    """Return the lock in a file. Raises InvalidLock, which names the file and the error."""
    try:
        lock = msgspec.json.decode(raw, type=Lock)
        if lock.format != FORMAT:
            raise ValueError(f"its format is {lock.format}, this celeriac reads {FORMAT}")
        for type_, contracts in lock.contracts.items():
            check_type(type_)
            for contract in contracts:
                if digest(contract.schema) != contract.digest:
                    raise ValueError(
                        f"the digest of {type_} version {contract.version} does not match its "
                        "schema"
                    )
        for handler, reader in lock.readers.items():
            check_handler(handler)
            reader.check_patterns()
    except (ValueError, msgspec.MsgspecError, InvalidEvent, SubscriptionError) as error:
        raise InvalidLock(
            f"{name} is not a valid lock file: {error}. Write it with `celeriac contracts lock`."
        ) from None
    return lock


def read_locks(files: Mapping[str, bytes]) -> dict[str, Lock]:
    """Return the locks by service. Raises InvalidLock, also for a second lock of a service."""
    locks: dict[str, Lock] = {}
    for name, raw in sorted(files.items()):
        lock = decode_lock(raw, name)
        if lock.service in locks:
            raise InvalidLock(
                f"{name} is a second lock file of {lock.service}. Remove one of them."
            )
        locks[lock.service] = lock
    return locks


def lock_files(directory: Path) -> dict[str, bytes]:
    """Return the content of each lock file in a directory, by path."""
    return {str(path): path.read_bytes() for path in sorted(directory.glob("*.json"))}
