"""The versions of each event type in this process, and the conversion of older data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from celeriac.contract.schema_uri import FIRST, schema_uri
from celeriac.errors import SubscriptionError

UpcastFunction = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of the data of one event type, and the model that declares it."""

    type: str
    version: int
    model: Any
    owner: str = ""
    deprecated: str = ""
    oldest: int = FIRST

    @property
    def dataschema(self) -> str | None:
        """The attribute of its events. Version 1 has none: it would be the same without a contract,
        and shorter."""
        return None if self.version == FIRST else schema_uri(self.type, self.version)


@dataclass(frozen=True, slots=True)
class Upcaster:
    """Converts data of version `source` to version `target`; unchanged without a function."""

    type: str
    source: int
    target: int
    function: UpcastFunction | None
    where: str


class Versions:
    """The versions of one event type. Written at import, then only read."""

    def __init__(self, type_: str) -> None:
        self.type = type_
        self.contracts: dict[int, Contract] = {}
        self.upcasters: dict[int, Upcaster] = {}
        # The `dataschema` of events that each reader accepts unchanged; "" if readers differ.
        self.current: str | None = None
        self.newest = FIRST
        # The class of emitted data → its `dataschema`.
        self.of_emitted: dict[Any, str | None] = {}
        self._by_model: dict[Any, Contract] = {}

    def add(self, contract: Contract) -> None:
        """Add a version. Raises SubscriptionError if another model declares it."""
        declared = self.contracts.get(contract.version)
        if declared is not None and where(declared.model) != where(contract.model):
            raise SubscriptionError(
                f"@contract({self.type!r}, version={contract.version}) is declared by "
                f"{where(declared.model)} and by {where(contract.model)}. Give one of them another "
                "version"
            )
        self.contracts[contract.version] = contract
        self.of_emitted = {known.model: known.dataschema for known in self.contracts.values()}
        self._by_model = {known.model: known for known in self.contracts.values()}
        self.newest = max(self.contracts)
        self.current = contract.dataschema if len(self.contracts) == 1 else ""

    def add_upcaster(self, upcaster: Upcaster) -> None:
        """Add an upcaster. Raises SubscriptionError if another one has the same source version."""
        there = self.upcasters.get(upcaster.source)
        if there is not None and there.where != upcaster.where:
            raise SubscriptionError(
                f"@upcast({self.type!r}, {upcaster.source}) is declared by {there.where} and by "
                f"{upcaster.where}. Remove one of them."
            )
        self.upcasters[upcaster.source] = upcaster

    def of_model(self, model: Any) -> Contract | None:
        """Return the contract that a class declares for this type."""
        try:
            return self._by_model.get(model)
        except TypeError:  # an annotation without a hash
            return None

    def read_by(self, annotation: Any) -> int:
        """Return the version that a reader with this annotation accepts.

        That of the contract that it names, else the newest.
        """
        named = self._named(annotation)
        return max(named) if named else self.newest

    def _named(self, annotation: Any) -> list[int]:
        contract = self.of_model(annotation)
        if contract is not None:
            return [contract.version]
        return [version for part in get_args(annotation) for version in self._named(part)]

    def oldest(self, target: int) -> int:
        """Return the oldest version that can be read as `target`."""
        contract = self.contracts.get(target)
        return contract.oldest if contract else FIRST

    def chain(self, version: int, target: int) -> Iterator[Upcaster]:
        """Yield the upcasters from one version to another. Raises SubscriptionError at a gap."""
        while version < target:
            upcaster = self.upcasters.get(version)
            if upcaster is None:
                raise SubscriptionError(
                    f"no upcaster leads from version {version} of {self.type} to {target}. Add "
                    f"@upcast({self.type!r}, {version}), or unchanged({self.type!r}, {version}) "
                    "if the new model reads the old data as it is."
                )
            if upcaster.target > target:
                raise SubscriptionError(
                    f"{upcaster.where} leads from version {version} of {self.type} to "
                    f"{upcaster.target}, past {target}, which this handler reads. Read the "
                    "newest version."
                )
            yield upcaster
            version = upcaster.target


# One per process, like its modules: a contract does not belong to a bus.
VERSIONS: dict[str, Versions] = {}


def versions_of(type_: str) -> Versions:
    """Return the versions of the type; new types have none."""
    versions = VERSIONS.get(type_)
    if versions is None:
        versions = VERSIONS[type_] = Versions(type_)
    return versions


def contracts_of(model: Any) -> list[Contract]:
    """Return the contracts that a class declares, one per type."""
    declared = (versions.of_model(model) for versions in VERSIONS.values())
    return [contract for contract in declared if contract is not None]


def check_readable(annotation: Any) -> None:
    """Check the upcasters of each contract that a reader's annotation names.

    Raises SubscriptionError if one is missing.
    """
    for contract in contracts_of(annotation):
        versions = VERSIONS[contract.type]
        for _ in versions.chain(contract.oldest, contract.version):
            pass
    for part in get_args(annotation):
        check_readable(part)


def where(thing: Any) -> str:
    """Return where a class or function is defined: `config.events.OrderPlaced`."""
    module = getattr(thing, "__module__", "?")
    return f"{module}.{getattr(thing, '__qualname__', repr(thing))}"
