"""Which alerts to send: each once, again where it gets worse, and a notice of its end. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from celeriac.cli.doctor.finding import Finding

Level = Literal["warn", "fail"]
_NUMBER = re.compile(r"\d[\d,.:-]*(?: (?:ms|s|min|h|d)\b)?")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs a look. The same `key` is the same alert, whatever its text counts."""

    key: str
    level: Level
    text: str
    remedy: str = ""


def alerts_of(findings: Iterable[Finding], level: Level) -> list[Alert]:
    """The alerts of doctor's findings, of this level or worse. Of findings that differ in numbers
    alone, the last one."""
    found: dict[str, Alert] = {}
    for one in findings:
        if one.level != "fail" and not (level == "warn" and one.level == "warn"):
            continue
        key = f"{one.check}: {_NUMBER.sub('#', one.text)}"
        worse: Level = "fail" if one.level == "fail" else "warn"
        found[key] = Alert(key=key, level=worse, text=f"{one.check}: {one.text}", remedy=one.remedy)
    return list(found.values())


class Known(msgspec.Struct, kw_only=True):
    """An alert as it was seen: in how many looks in a row it was there, or was not, and what was
    sent of it and when (s)."""

    alert: Alert
    seen: int = 0
    missed: int = 0
    sent: Level | None = None
    sent_at: float = 0.0


@dataclass(slots=True)
class Changes:
    """What to send after a look."""

    new: list[Alert] = field(default_factory=list)
    repeated: list[Alert] = field(default_factory=list)
    recovered: list[Alert] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.new or self.repeated or self.recovered)

    @property
    def title(self) -> str:
        parts = [
            f"{len(some)} {name}"
            for name, some in (
                ("new", self.new),
                ("ongoing", self.repeated),
                ("recovered", self.recovered),
            )
            if some
        ]
        return f"celeriac: {', '.join(parts)}"

    @property
    def body(self) -> str:
        """A line for each alert, and one for its remedy."""
        lines = []
        for name, some in (("", self.new), ("ongoing ", self.repeated)):
            for one in some:
                lines.append(f"{name}{one.level}: {one.text}")
                if one.remedy:
                    lines.append(f"  → {one.remedy}")
        lines += [f"recovered: {one.text}" for one in self.recovered]
        return "\n".join(lines)


class Alerts:
    """The alerts that are known. `after` is in how many looks in a row one must be there, or be
    gone, before it is sent; `repeat_s` after which time one that goes on is sent again."""

    def __init__(
        self,
        known: Mapping[str, Known] | None = None,
        *,
        after: int = 2,
        repeat_s: float | None = None,
    ) -> None:
        self.known = dict(known or {})
        self._after, self._repeat_s = after, repeat_s

    def look(self, found: Iterable[Alert], now: float, *, is_partial: bool = False) -> Changes:
        """Note what is there now; return what to send. It is sent again until `sent` is called.

        A partial look, as without Redis, says nothing of alerts that it did not find.
        """
        there = {one.key: one for one in found}
        for key, alert in there.items():
            known = self.known.setdefault(key, Known(alert=alert))
            known.alert, known.missed = alert, 0
            known.seen += 1
        for key, known in self.known.items():
            if key not in there and not is_partial:
                known.missed, known.seen = known.missed + 1, 0
        return self._changes(now)

    def _changes(self, now: float) -> Changes:
        changes = Changes()
        for known in self.known.values():
            if known.missed:
                if known.sent is not None and known.missed >= self._after:
                    changes.recovered.append(known.alert)
            elif known.sent is None or (known.sent, known.alert.level) == ("warn", "fail"):
                if known.seen >= self._after:
                    changes.new.append(known.alert)
            elif self._repeat_s is not None and now - known.sent_at >= self._repeat_s:
                changes.repeated.append(known.alert)
        return changes

    def sent(self, changes: Changes, now: float) -> None:
        """These were sent."""
        for one in (*changes.new, *changes.repeated):
            known = self.known[one.key]
            known.sent, known.sent_at = one.level, now
        for one in changes.recovered:
            del self.known[one.key]
        self.known = {
            key: one for key, one in self.known.items() if one.sent is not None or not one.missed
        }
