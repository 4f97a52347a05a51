"""Read data of any version as the type that a handler declares."""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.contract.schema_uri import schema_uri, version_of
from celeriac.contract.versions import VERSIONS, Upcaster, Versions
from celeriac.errors import ContractTooNew, InvalidData, SubscriptionError
from celeriac.event import Event, decode_data
from celeriac.event.attributes import is_json
from celeriac.unreadable import UNREADABLE


def read_data(event: Event[Any], annotation: Any) -> Event[Any]:
    """Return the event with its data as `annotation`, after the upcasters of older versions.

    For the newest version that this process has, and for types without a contract, this costs one
    comparison more than `decode_data`. Raises InvalidData; ContractTooNew if data of a newer,
    unknown version does not match. With `msgspec.Raw` the data stays undecoded JSON, for a handler
    that decodes it by the event's type.
    """
    if annotation is msgspec.Raw:
        return event
    versions = VERSIONS.get(event.type)
    try:
        if versions is None or event.dataschema == versions.current:
            return decode_data(event, annotation)
        return _read_other(event, annotation, versions)
    except InvalidData as error:
        version = version_of(event.dataschema, event.type)
        known = 1 if versions is None else versions.read_by(annotation)
        if version > known and not isinstance(error, ContractTooNew):
            raise ContractTooNew(
                f"version {version} of {event.type} {event.id}; this worker reads version "
                f"{known}: {error}. Deploy a worker that reads version {version}, then redrive."
            ) from None
        raise


def _read_other(event: Event[Any], annotation: Any, versions: Versions) -> Event[Any]:
    version, target = version_of(event.dataschema, event.type), versions.read_by(annotation)
    if version < target:
        event = upcast_event(event, versions, version, target)
    elif version > target and versions.of_model(annotation) is not None:
        # Fields of the newer version that the model does not have are no longer in the data.
        event = msgspec.structs.replace(event, dataschema=schema_uri(event.type, target))
    return decode_data(event, annotation)


def upcast_event(event: Event[Any], versions: Versions, version: int, target: int) -> Event[Any]:
    """Return the event with its data and `dataschema` as of version `target`."""
    oldest = versions.oldest(target)
    if version < oldest:
        raise InvalidData(
            f"version {version} of {event.type} {event.id} is older than {oldest}, the oldest that "
            "this worker reads"
        )
    try:
        chain = list(versions.chain(version, target))
    except SubscriptionError as error:
        raise InvalidData(f"{event.type} {event.id}: {error}") from None
    changed = msgspec.structs.replace(event, dataschema=schema_uri(event.type, target))
    if all(upcaster.function is None for upcaster in chain):
        return changed
    return changed.with_data(upcast_data(event, chain))


def upcast_data(event: Event[Any], chain: list[Upcaster]) -> Any:
    """Return the data after the upcasters, as JSON. Raises InvalidData, without any value."""
    data = event.data
    if isinstance(data, msgspec.Raw) or (
        isinstance(data, bytes) and is_json(event.datacontenttype)
    ):
        data = _document(event)
    for upcaster in chain:
        if upcaster.function is None:
            continue
        try:
            data = upcaster.function(data)
        except Exception as error:
            raise InvalidData(
                f"{event.type} {event.id}: {upcaster.where} (version {upcaster.source} to "
                f"{upcaster.target}) raised {type(error).__name__}"
            ) from None
    try:
        return msgspec.Raw(msgspec.json.encode(data))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidData(
            f"{event.type} {event.id}: the upcasters to version {chain[-1].target} returned data "
            f"that JSON cannot represent ({type(error).__name__})"
        ) from None


def _document(event: Event[Any]) -> Any:
    try:
        return msgspec.json.decode(event.data)
    except UNREADABLE:
        raise InvalidData(f"{event.type} {event.id}: data is not valid JSON") from None
