"""Extension attributes: those that neither CloudEvents nor celeriac defines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

ExtensionValue: TypeAlias = str | int | bool


class Extensions(Mapping[str, ExtensionValue]):
    """An immutable mapping of attribute names to values.

    Hashable, and unlike MappingProxyType it can be pickled and deep-copied.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, ExtensionValue]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> ExtensionValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Extensions({self._values!r})"


NO_EXTENSIONS: Final = Extensions({})
