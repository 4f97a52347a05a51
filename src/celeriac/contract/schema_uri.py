"""The version of an event's data on the wire: a URN in the CloudEvents attribute `dataschema`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

BASE: Final = "urn:celeriac"
FIRST: Final = 1  # the version of an event without our `dataschema`
MAX_VERSION: Final = 1_000_000

_VERSION = re.compile(r"[1-9][0-9]{0,6}")


def schema_uri(type_: str, version: int) -> str:
    """Return the `dataschema` of a version: `urn:celeriac:order.placed:2`."""
    return f"{BASE}:{type_}:{version}"


# A service reads few of them, many times each.
@lru_cache(maxsize=4096)
def version_of(dataschema: str | None, type_: str) -> int:
    """Return the version that a `dataschema` names.

    It is 1 for None, and for a URI of another kind or for another type: that producer does not use
    these versions.
    """
    head = f"{BASE}:{type_}:"
    if dataschema is None or not dataschema.startswith(head):
        return FIRST
    number = dataschema[len(head) :]
    return int(number) if _VERSION.fullmatch(number) else FIRST
