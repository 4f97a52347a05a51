"""Rules beside what doctor finds: dead letters of a type, the lag of a handler, missing workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import click

from celeriac.cli.show import age, count
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
    """Patterns of event types → how many dead letters; patterns of handlers → seconds of lag;
    services → how many living workers."""

    dead: tuple[tuple[str, int], ...] = ()
    lag: tuple[tuple[str, float], ...] = ()
    workers: tuple[tuple[str, int], ...] = ()

    def check(self, backend: Backend) -> Iterator[Alert]:
        """Yield an alert for each rule that is broken. Reads at most MAX_COUNTED dead letters for a
        rule."""
        yield from self._dead(backend)
        yield from self._lag(backend)
        yield from self._workers(backend)

    def _dead(self, backend: Backend) -> Iterator[Alert]:
        for pattern, most in self.dead:
            counted = min(MAX_COUNTED, most)
            found = sum(1 for _ in choose(backend, Choice(pattern=pattern), most=MAX_COUNTED))
            if found >= counted:
                more = " or more" if found == MAX_COUNTED else ""
                text = f"{count(found, 'dead letter')}{more} of {pattern}"
                yield Alert(
                    key=f"rule dead {pattern}",
                    level="fail",
                    text=text,
                    remedy=f"celeriac dead list --type '{pattern}'",
                )

    def _lag(self, backend: Backend) -> Iterator[Alert]:
        lags = Matrix(backend).lag() if self.lag else []
        for pattern, seconds in self.lag:
            for one in lags:
                late = one.oldest_s is not None and one.oldest_s > seconds
                if late and one.registered and fnmatchcase(one.handler, pattern):
                    waits = count(one.unfinished, "unfinished event")
                    text = f"{one.handler} is {age(one.oldest_s)} behind in {one.domain}: {waits}"
                    yield Alert(
                        key=f"rule lag {one.handler} {one.domain}",
                        level="fail",
                        text=text,
                        remedy=f"more workers of {one.service}, or: celeriac lag",
                    )

    def _workers(self, backend: Backend) -> Iterator[Alert]:
        now_ms = backend.registry.now_ms() if self.workers else 0
        living = [
            one.service
            for one in (backend.registry.workers() if self.workers else ())
            if one.processes and is_alive(one, now_ms)
        ]
        for service, least in self.workers:
            if living.count(service) < least:
                text = f"{service} has {living.count(service)} of {count(least, 'worker')}"
                yield Alert(
                    key=f"rule workers {service}",
                    level="fail",
                    text=text,
                    remedy="start one: celery -A MODULE worker; gone ones: celeriac workers",
                )


def dead_rules(given: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """From `order.*` or `order.*=10`."""
    found = []
    for text in given:
        pattern, _, number = text.partition("=")
        try:
            compile_patterns(pattern)
        except SubscriptionError as error:
            raise click.BadParameter(str(error), param_hint="--dead") from None
        found.append((pattern, int(_number(number or "1", text, "--dead"))))
    return tuple(found)


def pairs(given: tuple[str, ...], option: str) -> tuple[tuple[str, float], ...]:
    """From `NAME=NUMBER`."""
    found = []
    for text in given:
        name, _, number = text.rpartition("=")
        if not name:
            raise click.BadParameter(f"{text!r}: write NAME=NUMBER", param_hint=option)
        found.append((name, _number(number, text, option)))
    return tuple(found)


def _number(number: str, text: str, option: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise click.BadParameter(f"{text!r}: {number!r} is no number over 0", param_hint=option)
    return value
