"""Events for direct calls of a handler's function."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, TypeVar, overload

import msgspec

from celeriac.event import Event, build_event, decode, decode_data, encode

T = TypeVar("T")


@overload
def make_event(type: str, data: Any = None, *, model: type[T], **attributes: Any) -> Event[T]: ...
@overload
def make_event(type: str, data: T, *, model: None = None, **attributes: Any) -> Event[T]: ...
@overload
def make_event(type: str, *, model: None = None, **attributes: Any) -> Event[None]: ...
def make_event(type: str, data: Any = None, *, model: Any = None, **attributes: Any) -> Event[Any]:
    """Return an event as a handler gets it: `charge_card(make_event("order.placed", order))`.

    The event is encoded and decoded, so data that cannot be sent fails here.

    Args:
        data: An instance of the model, or plain data to read as `model`.
        model: The type of the data. Default: the type of `data`.
        **attributes: Those of `emit`.

    Raises:
        InvalidEvent: An attribute is invalid. InvalidData is a subclass.
    """
    attributes.setdefault("source", "test")
    sent = build_event(type, data, **attributes)
    if model is None:
        model = data.__class__ if _is_model(data) else Any
    return decode_data(decode(encode(sent)), model)


def _is_model(data: Any) -> bool:
    # By an attribute, so that pydantic is imported only by applications that use it.
    return isinstance(data, msgspec.Struct) or is_dataclass(data) or hasattr(data, "model_dump")
