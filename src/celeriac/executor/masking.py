"""An error without the sensitive values of the events that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from celeriac.errors import InvalidEvent, Reject, Retry
from celeriac.event import RawEvent, decode, is_encrypted, sensitive_values, without
from celeriac.event.encrypted import ENCRYPTED
from celeriac.event.sensitive import ALL
from celeriac.executor.error_text import storable, trace


class MaskedError(Exception):
    """Stands in for an error whose text held a sensitive value, under the name of its class.

    It has the error's traceback, also as text, but not the errors that led to it: their texts may
    hold the value too.
    """

    masked_trace = ""

    def __reduce__(self) -> Any:
        # Celery then sends name and text to its main process, and not the nearest class it knows.
        raise TypeError("stands in for another error")


def masked_error(
    error: BaseException,
    bodies: Iterable[bytes | None],
    names: frozenset[str],
    opened: Callable[[RawEvent], RawEvent],
) -> BaseException:
    """The error itself where its text holds no sensitive value of the events; else a stand-in.

    `opened` gives an encrypted event in plain, or raises InvalidEvent.
    """
    values = _values(bodies, names, opened)
    if not values:
        return error
    text, written = _text(error), trace(error)
    masked_text, masked_trace = without(text, values), without(written, values)
    if (text, written) == (masked_text, masked_trace):
        return error
    instead = _stand_in(error, masked_text).with_traceback(error.__traceback__)
    instead.masked_trace = masked_trace  # type: ignore[attr-defined]
    return instead


_MARKS = b'"sensitive"', ENCRYPTED.encode()


def _values(
    bodies: Iterable[bytes | None],
    names: frozenset[str],
    opened: Callable[[RawEvent], RawEvent],
) -> list[str]:
    values: list[str] = []
    for body in bodies:
        # a look at the bytes spares most events the decoding
        if body is None or not (names or any(mark in body for mark in _MARKS)):
            continue
        try:
            event = decode(body)
            if is_encrypted(event):
                event = replace(opened(event), sensitive=ALL)
            values += sensitive_values(event, names)
        except InvalidEvent:
            continue
    return sorted(values, key=len, reverse=True)


def _text(error: BaseException) -> str:
    try:
        return storable(str(error))
    except Exception:
        return ""


def _stand_in(error: BaseException, text: str) -> BaseException:
    # these two are control flow, for Celery as well
    if isinstance(error, Retry):
        return Retry(text, after=error.after)
    if isinstance(error, Reject):
        return Reject(text)
    kind = type(error)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    instead: BaseException = type(kind.__name__, (MaskedError,), named)(text)
    return instead
