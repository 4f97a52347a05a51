"""Replays from an archive as Redis stores them: the fields of a hash. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celeriac.delivery.archive_replay import ArchiveReplay, ArchiveReplayStep, StepEnd
from celeriac.store.redis.delivery_script import parse_int


def pack_archive_replay(replay: ArchiveReplay) -> list[Any]:
    """Return fields and values of a replay that begins, without its operation and start."""
    return [
        *("until", replay.until_ms, "about", replay.about),
        *("position", "0-0", "copy", "", "scheduled", 0, "kept", 0),
    ]


def parse_archive_replay(fields: Mapping[bytes, bytes]) -> ArchiveReplay:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    return ArchiveReplay(
        operation=text(b"operation"),
        until_ms=parse_int(fields.get(b"until")),
        about=text(b"about"),
        started_ms=parse_int(fields.get(b"started")),
        position=text(b"position"),
        copy=text(b"copy"),
        scheduled=parse_int(fields.get(b"scheduled")),
        kept=parse_int(fields.get(b"kept")),
        is_finished=b"finished" in fields,
    )


def parse_archive_replay_step(answer: Sequence[Any]) -> ArchiveReplayStep:
    end, *numbers = answer
    if not numbers:
        return ArchiveReplayStep(StepEnd(end.decode()))
    position, scheduled, kept = numbers
    return ArchiveReplayStep(StepEnd(end.decode()), position.decode(), int(scheduled), int(kept))
