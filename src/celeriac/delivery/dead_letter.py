"""Dead letters, also grouped by handler and type of error, and actions of operators on them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from celeriac.event import key_id

_KIND = re.compile(r"([\w.<>]+)(?::|\Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that failed permanently. `event` is the body as the log had it; `event_key` is
    empty if the body is not a valid event."""

    id: str
    domain: str
    handler: str
    entry: str
    event_key: str
    attempts: int
    error: str
    traceback: str
    first_failed_ms: int
    last_failed_ms: int
    event: bytes

    @property
    def event_id(self) -> str:
        return key_id(self.event_key)


@dataclass(frozen=True, slots=True)
class EditedDeadLetter:
    """A dead letter and the edited event that replaces it: for this handler only, with a new id.

    `body` is the event as it is appended to the log."""

    dead_letter: DeadLetter
    id: str
    key: str
    type: str
    body: bytes


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
