"""The version of emitted data."""

from __future__ import annotations

from typing import Any

from celeriac.contract.schema_uri import FIRST
from celeriac.contract.versions import Versions
from celeriac.errors import InvalidEvent


def written_as(versions: Versions, kind: Any, declared: Any) -> str | None:
    """Return the `dataschema` of an event with data of class `kind`; None for version 1.

    The version is that of the contract that the class declares, else of the model `declared` for
    the type. Data without a contract is read as version 1. Raises InvalidEvent for it if a later
    version exists: readers would run the upcasters on it.
    """
    try:
        return versions.of_emitted[kind]
    except KeyError:
        pass
    contract = versions.of_model(declared)
    if contract is not None:
        return contract.dataschema
    if versions.newest == FIRST:
        return None
    raise InvalidEvent(
        f"data of {versions.type} has no contract: {kind.__name__}. The newest version is "
        f"{versions.newest}. Emit an object of the contract, call bus.declare({versions.type!r}, "
        "...) with the model, or pass the version of the data as "
        f"dataschema=schema_uri({versions.type!r}, {FIRST})."
    )
