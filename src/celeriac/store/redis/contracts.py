"""The contracts of the bus in one hash of Redis or Valkey."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.normal_form import digest
from celeriac.contract.store import StoredContract, check_unchanged
from celeriac.errors import InvalidEvent, SubscriptionError
from celeriac.event.attributes import check_handler, check_type
from celeriac.invalid_record import InvalidRecords, check_time
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, server_time_ms
from celeriac.store.redis.keys import Keys

CONTRACT, READER = "contract", "reader"

_decode_contract = msgspec.json.Decoder(StoredContract).decode
_decode_reader = msgspec.json.Decoder(LockedReader).decode


class RedisContracts:
    """Implements ContractStore.

    A version is written with HSETNX, so that the first of two workers wins.
    """

    def __init__(
        self, settings: Settings, client: Client, invalid: InvalidRecords | None = None
    ) -> None:
        self.key = Keys(settings.namespace).contracts
        self.client = client
        self.invalid = InvalidRecords() if invalid is None else invalid

    def contracts(self) -> list[StoredContract]:
        return self.contracts_and_readers()[0]

    def readers(self) -> Mapping[str, Mapping[str, LockedReader]]:
        return self.contracts_and_readers()[1]

    def contracts_and_readers(
        self,
    ) -> tuple[list[StoredContract], Mapping[str, Mapping[str, LockedReader]]]:
        contracts: list[StoredContract] = []
        readers: dict[str, dict[str, LockedReader]] = defaultdict(dict)
        for name, record in self._read().items():
            if isinstance(record, StoredContract):
                contracts.append(record)
            elif isinstance(record, LockedReader):
                _, handler, digest = name.split(":")
                readers[handler][digest] = record
        contracts.sort(key=lambda record: (record.type, record.contract.version))
        return contracts, dict(sorted(readers.items()))

    def declare(
        self,
        service: str,
        contracts: Mapping[str, Collection[LockedContract]],
        readers: Mapping[str, LockedReader],
    ) -> None:
        declared = {
            _field(type_, contract): (type_, contract)
            for type_, versions in contracts.items()
            for contract in versions
        }
        known = self._check(declared)
        now = server_time_ms(self.client) if declared.keys() - known.keys() else 0
        for name, (type_, contract) in declared.items():
            before = known.get(name)
            if before is None:
                stored = StoredContract(
                    type=type_, service=service, declared_ms=now, contract=contract
                )
                self._call("HSETNX", name, msgspec.json.encode(stored))
            elif before.contract != contract:
                stored = msgspec.structs.replace(before, contract=contract)
                self._call("HSET", name, msgspec.json.encode(stored))
        self._check(declared)  # another worker may have been first
        for handler, reads in readers.items():
            self._call("HSETNX", f"{READER}:{handler}:{reads.digest}", msgspec.json.encode(reads))

    def forget_readers(self, handler: str, kept: Collection[str]) -> None:
        gone = [
            f"{READER}:{handler}:{reader_digest}"
            for reader_digest in self.readers().get(handler, {})
            if reader_digest not in kept
        ]
        if gone:
            self._call("HDEL", *gone)

    def _check(
        self, declared: Mapping[str, tuple[str, LockedContract]]
    ) -> dict[str, StoredContract]:
        """Return the stored versions. Raises ContractChanged."""
        names = list(declared)
        values = (self._call("HMGET", *names) if names else None) or []
        known = {}
        for name, value in zip(names, values, strict=False):
            stored = _readable(name, value)
            if stored is not None:
                type_, contract = declared[name]
                check_unchanged(type_, contract, stored)
                known[name] = stored
        return known

    def _read(self) -> Mapping[str, StoredContract | LockedReader]:
        stored = self.invalid.unless_wrong_type(self.key, lambda: self.client.hgetall(self.key), {})
        return self.invalid.decode_all(self.key, stored, _decode)

    def _call(self, command: str, *args: Any) -> Any:
        """Return the reply; None if the key holds another type, which is reported."""
        return self.invalid.unless_wrong_type(
            self.key, lambda: self.client.execute_command(command, self.key, *args), None
        )


def _readable(name: str, value: bytes | None) -> StoredContract | None:
    if value is None:
        return None
    try:
        return decode_contract(name, value)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None


def _decode(name: str, value: bytes) -> StoredContract | LockedReader:
    kind = name.partition(":")[0]
    if kind not in (CONTRACT, READER):
        raise ValueError("is neither a contract nor a reader")
    return decode_contract(name, value) if kind == CONTRACT else decode_reader(name, value)


def decode_contract(name: str, value: bytes) -> StoredContract:
    """Return the record of a version. Raises ValueError or msgspec.MsgspecError."""
    stored = _decode_contract(value)
    try:
        check_type(stored.type)
    except InvalidEvent as error:
        raise ValueError(str(error)) from None
    if name != _field(stored.type, stored.contract):
        raise ValueError(
            f"is the record of another version, {_field(stored.type, stored.contract)}"
        )
    if digest(stored.contract.schema) != stored.contract.digest:
        raise ValueError("`digest` does not match the schema")
    check_time("declared_ms", stored.declared_ms)
    return stored


def decode_reader(name: str, value: bytes) -> LockedReader:
    """Return what a handler reads. Raises ValueError or msgspec.MsgspecError."""
    reads = _decode_reader(value)
    parts = name.split(":")
    try:
        check_handler(parts[1])
        reads.check_patterns()
    except (InvalidEvent, SubscriptionError) as error:
        raise ValueError(str(error)) from None
    if len(parts) != 3 or parts[2] != reads.digest:
        raise ValueError("does not match its field's name")
    return reads


def _field(type_: str, contract: LockedContract) -> str:
    return f"{CONTRACT}:{type_}:{contract.version}"
