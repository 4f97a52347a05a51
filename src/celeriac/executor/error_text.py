"""Format an error as text that can be stored: limited in size, on one line, and never failing."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import TypeVar

E = TypeVar("E", bound=BaseException)

OURS = str(Path(__file__).parents[1])
LONGEST_ERROR, LONGEST_TRACEBACK = 500, 20_000  # bytes that are stored


def describe(error: BaseException) -> str:
    """Return `Type: message` on one line of at most LONGEST_ERROR bytes."""
    name, message = type(error).__qualname__, message_of(error)
    return _cut(f"{name}: {message}" if message else name)


def message_of(error: BaseException) -> str:
    """Return the error's message on one line of at most LONGEST_ERROR bytes."""
    try:
        return _cut(" ".join(storable(str(error)).split()))
    except Exception:
        return "(its message cannot be shown)"


def _cut(text: str) -> str:
    return text.encode()[:LONGEST_ERROR].decode(errors="ignore")


def from_their_code(error: E) -> E:
    """Return the error with a traceback that begins in the handler's code, not in ours."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(OURS):
        frame = frame.tb_next
    return error.with_traceback(frame or error.__traceback__)


def trace(error: BaseException) -> str:
    """Return the end of the traceback, at most LONGEST_TRACEBACK bytes."""
    if masked := getattr(error, "masked_trace", ""):
        return str(masked)
    text = storable("".join(traceback.format_exception(error)))
    return text.encode()[-LONGEST_TRACEBACK:].decode(errors="ignore")


def is_trace_cut(text: str) -> bool:
    """Return whether `trace` returned only the end of a traceback."""
    # The cut may have removed a part of a character.
    return len(text.encode()) > LONGEST_TRACEBACK - 4


def storable(text: str) -> str:
    """Escape characters that UTF-8 cannot encode, as in file names."""
    return text.encode(errors="backslashreplace").decode()
