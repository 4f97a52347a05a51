"""The parameters of a request for a number of workers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from celeriac.errors import ConfigurationError
from celeriac.scale.wanted import COOLDOWN, DRAIN_TARGET, MAX_NUMBER, ScaleTarget

_NUMBERS = {"drain_target": float, "cooldown": float, "processes": int, "max": int, "unknown": int}


class ScaleQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of one service: see ScaleReader.read.

    `unknown` is the number of workers if the bus does not have the service; None for an error.
    """

    service: str
    drain_target: float = DRAIN_TARGET
    cooldown: float = COOLDOWN
    processes: int | None = None
    max_workers: int | None = None
    queue: str | None = None
    unknown: int | None = None

    @property
    def target(self) -> ScaleTarget:
        """The target, with one process if none are given. Raises ConfigurationError."""
        return ScaleTarget(
            drain_target=self.drain_target,
            cooldown=self.cooldown,
            processes=1 if self.processes is None else self.processes,
            max_workers=self.max_workers,
        )


def parse_question(service: str, parameters: Iterable[tuple[str, str]]) -> ScaleQuestion:
    """Return the question from the parameters of a URL, named as the options of `celeriac scale`,
    and `unknown`.

    Raises ConfigurationError for an unknown or repeated parameter, and for a wrong value.
    """
    given: dict[str, str | float] = {}
    for name, text in parameters:
        if name not in _NUMBERS and name != "queue":
            known = ", ".join([*_NUMBERS, "queue"])
            raise ConfigurationError(f"unknown parameter: {name}. Use {known}.")
        if name in given:
            raise ConfigurationError(f"{name} occurs twice. Give it once.")
        given[name] = text if name == "queue" else _number(name, text)
    if "max" in given:
        given["max_workers"] = given.pop("max")
    question = msgspec.convert({"service": service, **given}, ScaleQuestion)
    # Checks the ranges.
    _ = question.target
    if question.unknown is not None and not 0 <= question.unknown <= MAX_NUMBER:
        raise ConfigurationError(
            f"unknown is out of range: {question.unknown}. Give a value from 0 to {MAX_NUMBER}."
        )
    return question


def _number(name: str, text: str) -> float:
    is_whole = _NUMBERS[name] is int
    try:
        if not text.isascii():
            raise ValueError
        return int(text) if is_whole else float(text)
    except ValueError:
        what = "a whole number" if is_whole else "a number"
        raise ConfigurationError(f"{name} is not {what}: {text!r}. Give {what}.") from None
