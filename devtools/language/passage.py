"""What the check reads: pieces of text with their file and line."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    TEXT = "text"
    NAME = "name"
    SUBJECT = "subject"


class Passage(NamedTuple):
    """`text` begins at `line` of the file and has that file's line breaks.

    `defined` is true for a name that Python code defines, unlike a Redis key or a file name.
    """

    kind: Kind
    path: str
    line: int
    text: str
    defined: bool = False
