"""The contracts of the bus in memory: the same promises, kept until the process ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from typing import Protocol

from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.store import StoredContract, check_unchanged


class Clock(Protocol):
    def now_ms(self) -> int: ...


class ProcessClock:
    """The clock of this process."""

    def now_ms(self) -> int:
        return int(time.time() * 1000)


class MemoryContracts:
    """See ContractStore for the promises. Thread-safe."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or ProcessClock()
        self._lock = threading.Lock()
        self._contracts: dict[tuple[str, int], StoredContract] = {}
        self._readers: dict[str, dict[str, LockedReader]] = {}

    def contracts(self) -> list[StoredContract]:
        with self._lock:
            return [stored for _, stored in sorted(self._contracts.items())]

    def readers(self) -> Mapping[str, Mapping[str, LockedReader]]:
        with self._lock:
            return {handler: dict(reads) for handler, reads in sorted(self._readers.items())}

    def contracts_and_readers(
        self,
    ) -> tuple[list[StoredContract], Mapping[str, Mapping[str, LockedReader]]]:
        return self.contracts(), self.readers()

    def declare(
        self,
        service: str,
        contracts: Mapping[str, Collection[LockedContract]],
        readers: Mapping[str, LockedReader],
    ) -> None:
        with self._lock:
            declared = [(type_, one) for type_, some in contracts.items() for one in some]
            for type_, one in declared:
                there = self._contracts.get((type_, one.version))
                if there is not None:
                    check_unchanged(type_, one, there)
            for type_, one in declared:
                there = self._contracts.get((type_, one.version))
                self._contracts[type_, one.version] = StoredContract(
                    type=type_,
                    service=there.service if there else service,
                    declared_ms=there.declared_ms if there else self.clock.now_ms(),
                    contract=one,
                )
            for handler, reads in readers.items():
                self._readers.setdefault(handler, {})[reads.digest] = reads

    def forget_readers(self, handler: str, kept: Collection[str]) -> None:
        with self._lock:
            there = self._readers.pop(handler, {})
            if left := {digest: reads for digest, reads in there.items() if digest in kept}:
                self._readers[handler] = left
