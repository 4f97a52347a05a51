"""The version under which data is emitted."""

from __future__ import annotations

from typing import Any

from celeriac.contract.schema_uri import FIRST
from celeriac.contract.versions import Versions
from celeriac.errors import InvalidEvent


def written_as(versions: Versions, data: Any, declared: Any = None) -> str | None:
    """Return the `dataschema` of an event with this data; None where it has no version.

    That of the contract that the data is an instance of, else of the model that the type was
    declared with. Data without a contract is read as version 1. Raises InvalidEvent for it where a
    later version is known: readers would take it through the upcasters.
    """
    uri = versions.of_emitted.get(data.__class__)
    if uri is not None:
        return uri
    contract = versions.of_model(declared)
    if contract is not None:
        return contract.uri
    if versions.newest == FIRST:
        return None
    raise InvalidEvent(
        f"{versions.type} has version {versions.newest}, and {type(data).__name__} is the contract "
        f"of none. Emit an object of the contract, call bus.declare({versions.type!r}, ...) with "
        "the model, or give the version of the data as "
        f"dataschema=schema_uri({versions.type!r}, {FIRST})"
    )
