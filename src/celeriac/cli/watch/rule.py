"""Rules in addition to doctor's findings: dead letters of a type, lag, missing workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import click

from celeriac.cli.show import count, duration
from celeriac.cli.watch.alert import Alert
from celeriac.dead_letter import Choice, choose
from celeriac.errors import SubscriptionError
from celeriac.event import compile_patterns
from celeriac.registry import is_alive
from celeriac.store.factory import Backend
from celeriac.tracking import Matrix

MAX_COUNTED = 1000  # dead letters of one rule


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds.

    `dead` maps patterns of event types to numbers of dead letters, `lag` patterns of handlers to
    seconds, `workers` services to numbers of running workers.
    """

    dead: tuple[tuple[str, int], ...] = ()
    lag: tuple[tuple[str, float], ...] = ()
    workers: tuple[tuple[str, int], ...] = ()

    def check(self, backend: Backend) -> Iterator[Alert]:
        """Yield an alert for each broken rule. Counts at most MAX_COUNTED dead letters per rule."""
        yield from self._dead(backend)
        yield from self._lag(backend)
        yield from self._workers(backend)

    def _dead(self, backend: Backend) -> Iterator[Alert]:
        for pattern, threshold in self.dead:
            counted = min(MAX_COUNTED, threshold)
            number = sum(1 for _ in choose(backend, Choice(pattern=pattern), limit=MAX_COUNTED))
            if number >= counted:
                more = " or more" if number == MAX_COUNTED else ""
                text = f"{count(number, 'dead letter')}{more} of {pattern}"
                yield Alert(
                    key=f"rule dead {pattern}",
                    level="fail",
                    text=text,
                    remedy=f"celeriac dead list --type '{pattern}'",
                )

    def _lag(self, backend: Backend) -> Iterator[Alert]:
        lags = Matrix(backend).lag() if self.lag else []
        for pattern, seconds in self.lag:
            for row in lags:
                late = row.oldest_s is not None and row.oldest_s > seconds
                if late and row.registered and fnmatchcase(row.handler, pattern):
                    waits = count(row.unfinished, "unfinished event")
                    late_by = duration(row.oldest_s)
                    text = f"{row.handler} is {late_by} behind in {row.domain}: {waits}"
                    yield Alert(
                        key=f"rule lag {row.handler} {row.domain}",
                        level="fail",
                        text=text,
                        remedy=f"add workers of {row.service}; see celeriac lag",
                    )

    def _workers(self, backend: Backend) -> Iterator[Alert]:
        now_ms = backend.registry.now_ms() if self.workers else 0
        running = [
            worker.service
            for worker in (backend.registry.workers() if self.workers else ())
            if worker.processes and is_alive(worker, now_ms)
        ]
        for service, least in self.workers:
            if running.count(service) < least:
                text = f"{service} has {running.count(service)} of {count(least, 'worker')}"
                yield Alert(
                    key=f"rule workers {service}",
                    level="fail",
                    text=text,
                    remedy="start a worker: celery -A MODULE worker; see celeriac workers",
                )


def dead_rules(given: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Parse `order.*` or `order.*=10`."""
    rules = []
    for text in given:
        pattern, _, number = text.partition("=")
        try:
            compile_patterns(pattern)
        except SubscriptionError as error:
            raise click.BadParameter(str(error), param_hint="--dead") from None
        rules.append((pattern, int(_number(number or "1", text, "--dead"))))
    return tuple(rules)


def pairs(given: tuple[str, ...], option: str) -> tuple[tuple[str, float], ...]:
    """Parse `NAME=NUMBER`."""
    rules = []
    for text in given:
        name, _, number = text.rpartition("=")
        if not name:
            raise click.BadParameter(
                f"rule is invalid: {text!r}. Write NAME=NUMBER.", param_hint=option
            )
        rules.append((name, _number(number, text, option)))
    return tuple(rules)


def _number(number: str, text: str, option: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise click.BadParameter(
            f"number is invalid: {text!r}. Write a number above 0 instead of {number!r}.",
            param_hint=option,
        )
    return value
