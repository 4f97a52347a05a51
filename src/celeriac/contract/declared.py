"""The decorators: `@contract` for a model, `@upcast` for a conversion from an older version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from celeriac.contract.schema_uri import FIRST, MAX_VERSION
from celeriac.contract.versions import (
    Contract,
    Upcaster,
    UpcastFunction,
    versions_of,
    where,
)
from celeriac.errors import InvalidEvent, SubscriptionError
from celeriac.event import check_annotation
from celeriac.event.attributes import check_type

M = TypeVar("M")
F = TypeVar("F", bound=UpcastFunction)


def contract(
    type: str,
    *,
    version: int = FIRST,
    owner: str = "",
    deprecated: str = "",
    oldest: int = FIRST,
) -> Callable[[M], M]:
    """Declare a model as a version of the data of an event type, and return it unchanged.

    The model is a msgspec Struct, a pydantic model, a dataclass or a TypedDict. It can be the
    contract of several types. `owner` is the service that emits the type. `deprecated` is a text
    that names the replacement. `oldest` is the first version that readers of this one accept.

    Raises SubscriptionError at import for an invalid type or version, a model that data cannot be
    read as, and a version that another model declares.
    """
    call = f"@contract({type!r}, version={version!r})"
    _check(call, type, version=version, oldest=oldest)
    if oldest > version:
        raise SubscriptionError(
            f"{call}: oldest is newer than the version: {oldest}. Set it to {version} or less."
        )
    for option, text in (("owner", owner), ("deprecated", deprecated)):
        if not isinstance(text, str) or not (text.isprintable() and len(text) <= 255):
            raise SubscriptionError(
                f"{call}: {option} is invalid: {text!r}. Use a printable text of at most 255 "
                "characters."
            )

    def declare(model: M) -> M:
        if not isinstance(model, _Class):
            raise SubscriptionError(
                f"{call} does not decorate a class: {where(model)}. Decorate a model."
            )
        check_annotation(model)
        versions_of(type).add(Contract(type, version, model, owner, deprecated, oldest))
        return model

    return declare


def upcast(type: str, version: int, *, to: int | None = None) -> Callable[[F], F]:
    """Declare a function that converts data of one version to the next one.

    It takes and returns plain data, as decoded from JSON. It runs only for events of older
    versions, before the model reads them. `to` skips versions that were never emitted.

    Raises SubscriptionError at import for a second upcaster of the version, and for one that does
    not lead to a newer version.
    """
    call = f"@upcast({type!r}, {version!r})"
    target = _target(call, type, version, to)

    def declare(function: F) -> F:
        if not callable(function):
            raise SubscriptionError(
                f"{call} does not decorate a function: {function!r}. Decorate a function of "
                "the data."
            )
        versions_of(type).add_upcaster(Upcaster(type, version, target, function, where(function)))
        return function

    return declare


def unchanged(type: str, version: int, *, to: int | None = None) -> None:
    """Declare that the next version reads data of this one as it is.

    `celeriac contracts check` verifies it. Raises SubscriptionError like `upcast`.
    """
    call = f"unchanged({type!r}, {version!r})"
    target = _target(call, type, version, to)
    versions_of(type).add_upcaster(Upcaster(type, version, target, None, call))


_Class = type


def _target(call: str, type_: str, version: int, to: int | None) -> int:
    target = version + 1 if to is None and isinstance(version, int) else to
    _check(call, type_, version=version, to=target)
    assert target is not None
    if target <= version:
        raise SubscriptionError(
            f"{call} makes a cycle: it leads to version {target}. An upcaster must lead to a newer "
            "version"
        )
    return target


def _check(call: str, type_: Any, **versions: Any) -> None:
    try:
        check_type(type_)
    except InvalidEvent as error:
        raise SubscriptionError(f"{call}: {error}") from None
    for name, version in versions.items():
        # True is an int in Python.
        if type(version) is not int or not FIRST <= version <= MAX_VERSION:
            raise SubscriptionError(
                f"{call}: {name} is invalid: {version!r}. Use an integer from {FIRST} to "
                f"{MAX_VERSION:,}."
            )
