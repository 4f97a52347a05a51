"""Captured events: the list of emitted events, with assertions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import msgspec

from celeriac.event import Event, compile_patterns, encode
from celeriac.testing.store import Emitted

_ANY: Any = object()
MAX_SHOWN = 20


class Captured(Sequence[Event[Any]]):
    """A sequence of emitted events, oldest first.

    Their `data` is what JSON holds: dicts, lists, strings, numbers.
    """

    def __init__(self, emitted: list[Emitted]) -> None:
        self._emitted = emitted

    @overload
    def __getitem__(self, index: int) -> Event[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event[Any]]: ...
    def __getitem__(self, index: int | slice) -> Event[Any] | list[Event[Any]]:
        return [emitted.event for emitted in self._emitted][index]

    def __len__(self) -> int:
        return len(self._emitted)

    @property
    def types(self) -> list[str]:
        """Return the types of the events, in their order."""
        return [event.type for event in self]

    def of(self, *patterns: str) -> Captured:
        """Return the events whose type matches a pattern of the kind that `@bus.on` takes."""
        matcher = compile_patterns(*patterns)
        return Captured([emit for emit in self._emitted if matcher.matches(emit.event.type)])

    def clear(self) -> None:
        """Forget the events, so that the next assertion sees only later ones."""
        self._emitted.clear()

    def assert_emitted(
        self,
        type: str,
        data: Any = _ANY,
        *,
        times: int | None = None,
        delay: float | None = None,
        where: Callable[[Event[Any]], bool] | None = None,
        **attributes: Any,
    ) -> Event[Any]:
        """Return the first event of the type that fits all arguments; fail if there is none.

        Args:
            data: The data is equal to this model or plain data.
            times: Exactly this many events fit.
            delay: The event was emitted with this delay in seconds.
            where: A condition on the event.
            **attributes: Attributes of the event, such as `subject=`.

        Raises:
            AssertionError: No event fits, or not `times` of them. The message lists what was
                emitted.
        """
        __tracebackhide__ = True
        matching = self._matching(type, data, delay, where, attributes)
        if matching and (times is None or times == len(matching)):
            return matching[0]
        expected = _expected(type, data, delay, where, attributes)
        if times is None or not matching:
            raise AssertionError(f"{expected} was not emitted; {self._describe_emitted()}")
        raise AssertionError(
            f"{expected} was emitted {_times(len(matching))}, not {_times(times)}; "
            f"{self._describe_emitted()}"
        )

    def assert_not_emitted(
        self,
        *patterns: str,
        data: Any = _ANY,
        where: Callable[[Event[Any]], bool] | None = None,
        **attributes: Any,
    ) -> None:
        """Fail if an event matches a pattern; without patterns, if there is any event."""
        __tracebackhide__ = True
        pattern = patterns or ("#",)
        matching = [event for event in self.of(*pattern) if _has(event, data, where, attributes)]
        if matching:
            expected = _expected(" or ".join(pattern), data, None, where, attributes)
            shown = "\n".join(f"  {_shown(event)}" for event in matching[:MAX_SHOWN])
            raise AssertionError(f"{expected} was emitted {_times(len(matching))}:\n{shown}")

    def _matching(
        self,
        type: str,
        data: Any,
        delay: float | None,
        where: Callable[[Event[Any]], bool] | None,
        attributes: dict[str, Any],
    ) -> list[Event[Any]]:
        return [
            emit.event
            for emit in self._emitted
            if emit.event.type == type
            and (delay is None or emit.delay_ms == round(delay * 1000))
            and _has(emit.event, data, where, attributes)
        ]

    def _describe_emitted(self) -> str:
        if not self:
            return "nothing was emitted"
        lines = [f"  {_shown(emit.event, emit.delay_ms)}" for emit in self._emitted[:MAX_SHOWN]]
        if len(self) > MAX_SHOWN:
            lines.append(f"  … and {len(self) - MAX_SHOWN} more")
        return "the emitted events are:\n" + "\n".join(lines)

    def __repr__(self) -> str:
        return f"Captured({', '.join(self.types)})"


def _has(
    event: Event[Any],
    data: Any,
    where: Callable[[Event[Any]], bool] | None,
    attributes: dict[str, Any],
) -> bool:
    same = all(getattr(event, name) == value for name, value in attributes.items())
    return same and (data is _ANY or _equal(event.data, data)) and (where is None or where(event))


def _equal(emitted: Any, expected: Any) -> bool:
    """Return whether the data is equal; first without encoding, for `mock.ANY` and the like."""
    if emitted == expected:
        return True
    if isinstance(expected, (bytes, bytearray)):
        return False
    try:
        body = encode(Event(id="-", source="-", type="-", data=expected))
    except ValueError:
        return False
    return bool(emitted == msgspec.json.decode(body).get("data"))


def _expected(
    type: str, data: Any, delay: float | None, where: object, attributes: dict[str, Any]
) -> str:
    parts: Iterable[tuple[str, Any]] = [
        *attributes.items(),
        *([] if data is _ANY else [("data", data)]),
        *([] if delay is None else [("delay", delay)]),
        *([] if where is None else [("where", getattr(where, "__name__", where))]),
    ]
    conditions = ", ".join(f"{name}={value!r}" for name, value in parts)
    return f"{type} with {conditions}" if conditions else type


def _shown(event: Event[Any], delay_ms: int | None = None) -> str:
    subject = "" if event.subject is None else f" subject={event.subject!r}"
    delay = "" if delay_ms is None else f" delay={delay_ms / 1000:g}"
    return f"{event.type}{subject}{delay} data={event.data!r}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
