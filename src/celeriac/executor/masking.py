"""Remove the sensitive values of events from errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from celeriac.errors import InvalidEvent, Reject, Retry, SubjectKeysUnavailable
from celeriac.event import RawEvent, decode, is_encrypted, sensitive_values, without
from celeriac.event.encrypted import ENCRYPTED
from celeriac.event.sensitive import ALL
from celeriac.executor.error_text import storable, trace


class MaskedError(Exception):
    """Replaces an error whose text contained a sensitive value, with the same class name.

    It has the error's traceback, also as text, but not its causes: their texts may contain the
    value too.
    """

    masked_trace = ""

    def __reduce__(self) -> Any:
        # Then Celery sends name and text to its main process, instead of the nearest known class.
        raise TypeError("replaces another error")


def masked_error(
    error: BaseException,
    bodies: Iterable[bytes | None],
    names: frozenset[str],
    opened: Callable[[RawEvent], RawEvent],
) -> BaseException:
    """Return the error itself if its text contains no sensitive value of the events; otherwise a
    replacement.

    `opened` decrypts an event, or raises InvalidEvent.
    """
    try:
        values = _values(bodies, names, opened)
    except SubjectKeysUnavailable:
        # The values are unknown now, so the text is not shown.
        return _replacement(error, "the text is not shown: the data cannot be decrypted now")
    if not values:
        return error
    text, written = _text(error), trace(error)
    masked_text, masked_trace = without(text, values), without(written, values)
    if (text, written) == (masked_text, masked_trace):
        return error
    instead = _replacement(error, masked_text).with_traceback(error.__traceback__)
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
        # Searching the bytes saves decoding most events.
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


def _replacement(error: BaseException, text: str) -> BaseException:
    # Retry and Reject are control flow, for Celery as well.
    if isinstance(error, Retry):
        return Retry(text, after=error.after)
    if isinstance(error, Reject):
        return Reject(text)
    kind = type(error)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    instead: BaseException = type(kind.__name__, (MaskedError,), named)(text)
    return instead
