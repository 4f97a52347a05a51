"""The version of emitted data."""

from __future__ import annotations

from typing import Any

from celeriac.contract.schema_uri import FIRST
from celeriac.contract.versions import Versions
from celeriac.errors import InvalidEvent


def written_as(versions: Versions, data: Any, declared: Any = None) -> str | None:
    """Return the `dataschema` of an event with this data; None if it has no version.

    The version is that of the contract that the data is an instance of, else of the model declared
    for the type. Data without a contract is read as version 1. Raises InvalidEvent for it if a
    later version exists: readers would run the upcasters on it.
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
        f"data of {versions.type} has no contract: {type(data).__name__}. The newest version is "
        f"{versions.newest}. Emit an object of the contract, call bus.declare({versions.type!r}, "
        "...) with the model, or pass the version of the data as "
        f"dataschema=schema_uri({versions.type!r}, {FIRST})."
    )
