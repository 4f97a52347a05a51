"""Events that other systems sent: what `emit` checks and adds, applied to a complete event."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from celeriac.contract import VERSIONS, read_data
from celeriac.contract.schema_uri import version_of
from celeriac.contract.versions import Versions
from celeriac.emitter.emitter import Emitter
from celeriac.event import Event, RawEvent, is_encrypted, join_paths, sensitive_attribute
from celeriac.event.schema import decoded_data


def received_event(emitter: Emitter, event: RawEvent) -> Event[Any]:
    """Return the event as the service would emit it: id, source, type and time stay.

    Data of a type that `declare` or a contract declares is converted to that type, after the
    upcasters of older versions that have no contract here. Undeclared data, and data of a version
    that is newer than this process, stays as it is; encrypted data, too. Sensitive paths of the
    type and of the settings are added to those of the event. An event without a tenant gets that
    of a service with exactly one tenant.

    Raises InvalidData, without any value. Does not block.
    """
    if event.tenant is None and emitter.tenant is not None:
        event = replace(event, tenant=emitter.tenant)
    if is_encrypted(event):
        return event
    versions = VERSIONS.get(event.type)
    model, is_read = _model(emitter.schemas.get(event.type), versions, event)
    if is_read:
        read = read_data(event, model)
    else:
        # Handlers of any type can decode it. The bytes stay those of the sender.
        read = event
        decoded_data(event, Any)
    marked = None if model is None else sensitive_attribute(model, type(read.data))
    if not marked and not emitter.sensitive_paths:
        return read
    given = event.sensitive.split(",") if event.sensitive else []
    return replace(read, sensitive=join_paths(marked, [*emitter.sensitive_paths, *given]))


def _model(declared: Any, versions: Versions | None, event: RawEvent) -> tuple[Any, bool]:
    """Return the model of the event's data, and whether to read the data as it."""
    if versions is None or not versions.contracts:
        return declared, declared is not None
    version = version_of(event.dataschema, event.type)
    if version > versions.newest:
        # Reading it would drop what the newer version added.
        return declared or versions.contracts[versions.newest].model, False
    if declared is not None:
        return declared, True
    contract = versions.contracts.get(version) or versions.contracts[versions.newest]
    return contract.model, True
