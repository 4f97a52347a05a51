"""What `explain` answers with. Every value is frozen, and `msgspec.json.encode` takes it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from celeriac.tracking import DeliveryState


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"  # it stops here until someone acts
    WAITING = "waiting"  # it goes on by itself
    UNKNOWN = "unknown"  # what would decide is no longer stored, or is not readable from here


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `remedy` is the command, or the change of code, that changes the verdict."""

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The checks of one event and one handler, in order. `deciding` is the index of the one that
    decides; `state` is None where the handler has no part in the event."""

    id: str
    handler: str
    type: str = ""
    source: str = ""
    subject: str | None = None
    domain: str = ""
    entry: str | None = None
    time_ms: int | None = None
    state: DeliveryState | None = None
    checks: tuple[Check, ...] = ()
    deciding: int = 0

    @property
    def decision(self) -> Check:
        return self.checks[self.deciding]


def passed(name: str, text: str) -> Check:
    return Check(name=name, verdict=Verdict.PASSED, text=text)


def failed(name: str, text: str, remedy: str = "") -> Check:
    return Check(name=name, verdict=Verdict.FAILED, text=text, remedy=remedy)


def waiting(name: str, text: str, remedy: str = "") -> Check:
    return Check(name=name, verdict=Verdict.WAITING, text=text, remedy=remedy)


def unknown(name: str, text: str, remedy: str = "") -> Check:
    return Check(name=name, verdict=Verdict.UNKNOWN, text=text, remedy=remedy)
