"""The contracts of a bus in memory, kept until the process ends."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.store import StoredContract, check_unchanged
from celeriac.store.memory.clock import Clock, ProcessClock


class MemoryContracts:
    """Implements ContractStore. Thread-safe."""

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
            declared = [(type_, version) for type_, some in contracts.items() for version in some]
            for type_, contract in declared:
                stored = self._contracts.get((type_, contract.version))
                if stored is not None:
                    check_unchanged(type_, contract, stored)
            for type_, contract in declared:
                stored = self._contracts.get((type_, contract.version))
                self._contracts[type_, contract.version] = StoredContract(
                    type=type_,
                    service=stored.service if stored else service,
                    declared_ms=stored.declared_ms if stored else self.clock.now_ms(),
                    contract=contract,
                )
            for handler, reads in readers.items():
                self._readers.setdefault(handler, {})[reads.digest] = reads

    def forget_readers(self, handler: str, kept: Collection[str]) -> None:
        with self._lock:
            known = self._readers.pop(handler, {})
            if remaining := {digest: reads for digest, reads in known.items() if digest in kept}:
                self._readers[handler] = remaining
