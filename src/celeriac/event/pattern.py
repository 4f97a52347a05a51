"""Patterns on event types, as in AMQP topics: `*` is one segment, `#` is any number of them."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache

from celeriac.errors import SubscriptionError
from celeriac.event.attributes import MAX_LENGTH, shown

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+|\*|#")


class Pattern:
    """One compiled pattern: `order.placed`, `order.*`, `#.failed`.

    Raises SubscriptionError for a pattern that can never match.
    """

    __slots__ = ("_regex", "text")

    def __init__(self, text: str) -> None:
        check_pattern(text)
        self.text = text
        wild = "*" in text or "#" in text
        self._regex = re.compile(_regex(text.split("."))) if wild else None

    def matches(self, type_: str) -> bool:
        """Return whether the pattern matches the event type. Case-sensitive."""
        if self._regex is None:
            return type_ == self.text
        return self._regex.fullmatch("." + type_) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


class Matcher:
    """Several patterns as one. Caches the results for the last 4096 types; thread-safe."""

    def __init__(self, patterns: tuple[Pattern, ...]) -> None:
        self.patterns = patterns
        self._cached = lru_cache(maxsize=4096)(self._matches)

    def matches(self, type_: str) -> bool:
        """Return whether any of the patterns matches the event type."""
        return self._cached(type_)

    def _matches(self, type_: str) -> bool:
        return any(pattern.matches(type_) for pattern in self.patterns)

    @cached_property
    def domains(self) -> frozenset[str] | None:
        """The domains that the patterns can match; None if a pattern can match any domain."""
        domains = {literal_domain(pattern.text) for pattern in self.patterns}
        return None if None in domains else self.literal_domains

    @cached_property
    def literal_domains(self) -> frozenset[str]:
        """The domains that patterns name. Patterns for any domain name none."""
        domains = (literal_domain(pattern.text) for pattern in self.patterns)
        return frozenset(domain for domain in domains if domain is not None)

    def __repr__(self) -> str:
        return f"Matcher({', '.join(repr(pattern.text) for pattern in self.patterns)})"


def compile_patterns(*patterns: str) -> Matcher:
    """Return a matcher for the patterns.

    Raises SubscriptionError for an invalid pattern, or without patterns.
    """
    if not patterns:
        raise SubscriptionError(
            "no pattern is given. Write a pattern like 'order.placed' or 'order.*'"
        )
    return Matcher(tuple(Pattern(text) for text in dict.fromkeys(patterns)))


def literal_domain(pattern: str) -> str | None:
    """Return the only domain that a pattern can match; None if it can match any."""
    first = pattern.partition(".")[0]
    return None if first in ("*", "#") else first


def check_pattern(text: object) -> None:
    """Raise SubscriptionError, with the remedy, for an invalid pattern."""
    if not isinstance(text, str):
        raise SubscriptionError(f"a pattern must be a string, got {type(text).__name__}")
    if not text:
        raise SubscriptionError("a pattern is empty; '#' matches every event")
    if len(text) > MAX_LENGTH:
        raise SubscriptionError(
            f"pattern {shown(text)} is {len(text)} characters long; "
            f"an event type has at most {MAX_LENGTH}"
        )
    for segment in text.split("."):
        if _SEGMENT.fullmatch(segment) is None:
            raise SubscriptionError(f"pattern {shown(text)} {_segment_fault(segment)}")


def _segment_fault(segment: str) -> str:
    if not segment:
        return "has an empty segment; remove the dot at its end, or the second of two dots"
    if "*" in segment or "#" in segment:
        return (
            f"has a wildcard within {shown(segment)}; '*' and '#' match whole segments, "
            "as in 'order.*' and 'order.#'"
        )
    return (
        f"has {shown(segment)}; a segment may only contain ASCII letters, digits, '_' and '-', "
        "or be '*' or '#'"
    )


def _regex(segments: list[str]) -> str:
    """Return a regex for a type with a leading dot.

    Between two `#`, the first match is as good as any later one, so the group is atomic.
    Otherwise each further `#` would multiply the time by the number of segments.
    """
    blocks = [""]
    for segment in segments:
        if segment == "#":
            blocks.append("")
        else:
            blocks[-1] += r"\.[^.]+" if segment == "*" else rf"\.{re.escape(segment)}(?![^.])"
    if len(blocks) == 1:
        return blocks[0]
    first, *middle, last = blocks
    inner = "".join(rf"(?>(?:\.[^.]+)*?{block})" for block in middle if block)
    return rf"{first}{inner}(?:\.[^.]+)*{last}"
