"""Decide which alerts to send: each once, again if it gets worse, and its recovery."""

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
    """A problem. The same `key` is the same alert, whatever numbers its text has."""

    key: str
    level: Level
    text: str
    remedy: str = ""


def alerts_of(findings: Iterable[Finding], level: Level) -> list[Alert]:
    """Return the alerts of doctor's findings of this level or worse.

    Findings that differ only in numbers are one alert, with the text of the last one.
    """
    alerts: dict[str, Alert] = {}
    for finding in findings:
        if finding.level != "fail" and not (level == "warn" and finding.level == "warn"):
            continue
        key = f"{finding.check}: {_NUMBER.sub('#', finding.text)}"
        worse: Level = "fail" if finding.level == "fail" else "warn"
        alerts[key] = Alert(
            key=key, level=worse, text=f"{finding.check}: {finding.text}", remedy=finding.remedy
        )
    return list(alerts.values())


class KnownAlert(msgspec.Struct, kw_only=True):
    """The history of an alert: consecutive checks with and without it, and what was sent."""

    alert: Alert
    seen: int = 0
    missed: int = 0
    sent: Level | None = None
    sent_at: float = 0.0


@dataclass(slots=True)
class Changes:
    """The alerts to send after a check."""

    new: list[Alert] = field(default_factory=list)
    repeated: list[Alert] = field(default_factory=list)
    recovered: list[Alert] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.new or self.repeated or self.recovered)

    @property
    def title(self) -> str:
        parts = [
            f"{len(alerts)} {name}"
            for name, alerts in (
                ("new", self.new),
                ("ongoing", self.repeated),
                ("recovered", self.recovered),
            )
            if alerts
        ]
        return f"celeriac: {', '.join(parts)}"

    @property
    def body(self) -> str:
        """Return a line for each alert, and one for its remedy."""
        lines = []
        for name, alerts in (("", self.new), ("ongoing ", self.repeated)):
            for alert in alerts:
                lines.append(f"{name}{alert.level}: {alert.text}")
                if alert.remedy:
                    lines.append(f"  → {alert.remedy}")
        lines += [f"recovered: {alert.text}" for alert in self.recovered]
        return "\n".join(lines)


class Alerts:
    """The known alerts.

    An alert is sent after `after` consecutive checks with it, its recovery after as many without
    it. An alert that continues is sent again after `repeat_s`.
    """

    def __init__(
        self,
        known: Mapping[str, KnownAlert] | None = None,
        *,
        after: int = 2,
        repeat_s: float | None = None,
    ) -> None:
        self.known = dict(known or {})
        self._after, self._repeat_s = after, repeat_s

    def update(self, current: Iterable[Alert], now: float, *, is_partial: bool = False) -> Changes:
        """Record the current alerts and return those to send, until `sent` confirms them.

        A partial check, for example without Redis, does not count alerts as recovered.
        """
        by_key = {alert.key: alert for alert in current}
        for key, alert in by_key.items():
            known = self.known.setdefault(key, KnownAlert(alert=alert))
            known.alert, known.missed = alert, 0
            known.seen += 1
        for key, known in self.known.items():
            if key not in by_key and not is_partial:
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
        """Record that these alerts were sent."""
        for alert in (*changes.new, *changes.repeated):
            known = self.known[alert.key]
            known.sent, known.sent_at = alert.level, now
        for alert in changes.recovered:
            del self.known[alert.key]
        self.known = {
            key: alert
            for key, alert in self.known.items()
            if alert.sent is not None or not alert.missed
        }
