"""The errors that decoding JSON of other programs raises."""

from __future__ import annotations

import msgspec

# Not JSON or of another shape, not UTF-8, nested too deeply.
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
