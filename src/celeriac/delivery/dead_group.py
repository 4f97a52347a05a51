"""Dead letters, grouped by handler and type of error."""

from __future__ import annotations

import re
from dataclasses import dataclass

_KIND = re.compile(r"([\w.<>]+)(?::|\Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """`exception` is '' if the errors do not begin with the name of a type; `newest` is the id of
    the last dead letter that was added, which may be gone."""

    domain: str
    handler: str
    exception: str
    count: int
    newest: str


@dataclass(frozen=True, slots=True)
class Audited:
    """An action of an operator on `count` deliveries of a domain, with the caller's `note`."""

    id: str
    domain: str
    note: bytes
    count: int


def exception_of(error: str) -> str:
    """Return the type that an error's text begins with: `GatewayDown: timed out` → `GatewayDown`.

    Same as `group_of` in store/redis/lua/_dead.lua.
    """
    match = _KIND.match(error)
    return match[1] if match else ""
