"""The contracts of the whole bus: what each version is, and what the handlers that run read."""

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
    """A version was given another schema than the bus knows under its number."""


class ContractStore(Protocol):
    """Every method blocks for one or two round trips and is idempotent.

    A record that cannot be read is skipped and reported as an InvalidRecord.
    """

    def contracts(self) -> list[StoredContract]:
        """Return every version of every type, in their order."""
        ...

    def readers(self) -> Mapping[str, Mapping[str, LockedReader]]:
        """Return what handlers read: handler → digest of what it reads → that."""
        ...

    def declare(
        self,
        service: str,
        contracts: Mapping[str, Collection[LockedContract]],
        readers: Mapping[str, LockedReader],
    ) -> None:
        """Write the versions and readers that are not there yet.

        Owner, deprecation and doc of a version follow the last worker that declares it. Raises
        ContractChanged where a version is there with another schema: nothing is written then.
        """
        ...

    def forget_readers(self, handler: str, kept: Collection[str]) -> None:
        """Remove what the handler reads, but for these digests."""
        ...


def check_unchanged(type_: str, new: LockedContract, old: StoredContract) -> None:
    """Raises ContractChanged, with the differences, where the schemas are not the same."""
    if new.digest == old.contract.digest:
        return
    lines = changes(old.contract.schema, new.schema) or ["the schemas differ"]
    raise ContractChanged(
        f"{type_} version {new.version} is another one than {old.service} declared: "
        f"{'; '.join(lines)}. Events of that version may be in the log. Give the new model "
        f"version={new.version + 1}, and write @upcast({type_!r}, {new.version}). A model that "
        f"only reads what {old.service} emits names it: owner={old.contract.owner or old.service!r}"
    )
