"""The answers of `explain`: frozen values that `msgspec.json.encode` accepts."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from celeriac.tracking import DeliveryState


class CheckResult(StrEnum):
    PASSED = "passed"
    FAILED = "failed"  # the event stops here until someone acts
    WAITING = "waiting"  # the event continues without an action
    UNKNOWN = "unknown"  # the deciding fact is no longer stored, or cannot be read from here


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check. `remedy` is the command, or the change of code, that changes the result."""

    name: str
    result: CheckResult
    text: str
    remedy: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The checks of one event and one handler, in order.

    `deciding` is the index of the deciding check. `state` is None if the handler is not expected to
    get the event.
    """

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
    return Check(name=name, result=CheckResult.PASSED, text=text)


def failed(name: str, text: str, remedy: str = "") -> Check:
    return Check(name=name, result=CheckResult.FAILED, text=text, remedy=remedy)


def waiting(name: str, text: str, remedy: str = "") -> Check:
    return Check(name=name, result=CheckResult.WAITING, text=text, remedy=remedy)


def unknown(name: str, text: str, remedy: str = "") -> Check:
    return Check(name=name, result=CheckResult.UNKNOWN, text=text, remedy=remedy)
