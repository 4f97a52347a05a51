"""Dead letters, grouped: what one handler gave up for one type of error."""

from __future__ import annotations

import re
from dataclasses import dataclass

_KIND = re.compile(r"([\w.<>]+)(?::|\Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """`exception` is '' where the errors begin with no name of a type; `newest` is the id of the
    last dead letter that came, which may be gone."""

    domain: str
    handler: str
    exception: str
    count: int
    newest: str


@dataclass(frozen=True, slots=True)
class Audited:
    """One act of a person on `count` deliveries of a domain. `note` is as the caller gave it."""

    id: str
    domain: str
    note: bytes
    count: int


def exception_of(error: str) -> str:
    """The type that an error's text begins with: `GatewayDown: timed out` → `GatewayDown`.

    As `group_of` in ledger/lua/_dead.lua.
    """
    found = _KIND.match(error)
    return found[1] if found else ""
