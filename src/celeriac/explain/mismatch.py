"""Find where a pattern differs from an event type."""

from __future__ import annotations

from collections.abc import Sequence

WILD = ("*", "#")


def mismatch(pattern: str, type_: str) -> str:
    """Return why the pattern does not match the type, by its segments.

    For example `segment 2 is "placed", the pattern wants "paid"`. Empty if all fixed segments
    match.
    """
    return _difference(pattern, type_)[1]


def nearest(patterns: Sequence[str], type_: str) -> tuple[str, str]:
    """Return the pattern that is closest to the type, and why it does not match."""
    closest = max(patterns, key=lambda pattern: _difference(pattern, type_)[0])
    return closest, mismatch(closest, type_)


def _difference(pattern: str, type_: str) -> tuple[int, str]:
    """Return the number of matching segments, and the first mismatch."""
    wanted, there = pattern.split("."), type_.split(".")
    head = wanted[: wanted.index("#")] if "#" in wanted else wanted
    for at, segment in enumerate(head):
        if at >= len(there):
            return at, f"the type ends before segment {at + 1}, the pattern wants {_shown(segment)}"
        if segment not in ("*", there[at]):
            return at, f'segment {at + 1} is "{there[at]}", the pattern wants "{segment}"'
    if head is wanted:
        if len(there) > len(wanted):
            text = (
                f'segment {len(wanted) + 1} is "{there[len(wanted)]}", the pattern ends before it'
            )
            return len(wanted), text
        return len(wanted), ""
    return len(head), _after_hash(wanted, there)


def _after_hash(wanted: Sequence[str], there: Sequence[str]) -> str:
    tail = [segment for segment in wanted[wanted.index("#") :] if segment != "#"]
    if not tail:
        return ""
    last = tail[-1]
    if last not in ("*", there[-1]) and wanted[-1] != "#":
        return f'the last segment is "{there[-1]}", the pattern wants "{last}"'
    missing = next((word for word in tail if word not in WILD and word not in there), "")
    if missing:
        return f'no segment is "{missing}", which the pattern wants after "#"'
    return 'its segments do not have the order that the pattern wants after "#"'


def _shown(segment: str) -> str:
    return "another segment" if segment == "*" else f'"{segment}"'
