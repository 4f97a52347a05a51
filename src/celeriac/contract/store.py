"""The contracts of the bus: each version, and what running handlers read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from celeriac.contract.change import changes
from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.errors import ConfigurationError


class StoredContract(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a type, as the first worker declared it. `service` is that worker's."""

    type: str
    service: str
    declared_ms: int
    contract: LockedContract


class ContractChanged(ConfigurationError):
    """The schema of a version differs from the one on the bus."""


class ContractStore(Protocol):
    """The contracts stored on the bus. Every method blocks for one or two round trips and is
    idempotent.

    A record that cannot be read is skipped and reported as an InvalidRecord.
    """

    def contracts(self) -> list[StoredContract]:
        """Return every version of every type, sorted."""
        ...

    def readers(self) -> Mapping[str, Mapping[str, LockedReader]]:
        """Return what handlers read: handler → digest → reader."""
        ...

    def contracts_and_readers(
        self,
    ) -> tuple[list[StoredContract], Mapping[str, Mapping[str, LockedReader]]]:
        """Return both, read at one time and in one round trip."""
        ...

    def declare(
        self,
        service: str,
        contracts: Mapping[str, Collection[LockedContract]],
        readers: Mapping[str, LockedReader],
    ) -> None:
        """Write versions and readers that are not stored yet.

        Owner, deprecation and doc of a version follow the last worker that declares it. Raises
        ContractChanged if a stored version has another schema; nothing is written then.
        """
        ...

    def forget_readers(self, handler: str, kept: Collection[str]) -> None:
        """Remove what the handler reads, except these digests."""
        ...


def check_unchanged(type_: str, new: LockedContract, old: StoredContract) -> None:
    """Raise ContractChanged, with the differences, if the schemas differ."""
    if new.digest == old.contract.digest:
        return
    lines = changes(old.contract.schema, new.schema) or ["the schemas differ"]
    raise ContractChanged(
        f"{type_} version {new.version} differs from the one that {old.service} declared: "
        f"{'; '.join(lines)}. Events of that version may be in the log. Set "
        f"version={new.version + 1} on the new model, and add @upcast({type_!r}, "
        f"{new.version}). A model that "
        f"only reads events of {old.service} needs owner={old.contract.owner or old.service!r}."
    )
