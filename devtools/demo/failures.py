"""The latest failures in the logs of the workers, including those that a retry resolved."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(
    r'time=(?P<at>\S+) .* message="(?P<handler>\S+) failed on (?P<event>\S+) (?P<id>\S+) '
    r'in attempt (?P<attempt>\d+) \((?P<then>[^)]*)\): (?P<error>.*?)"( event=|$)'
)


@dataclass(frozen=True, slots=True)
class Failure:
    at: str
    handler: str
    attempt: int
    then: str
    error: str


class FailureLog:
    """Reads the new lines of the logs in a directory."""

    def __init__(self, directory: Path, keep: int = 5) -> None:
        self.directory = directory
        self._read: dict[Path, int] = {}
        self._latest: deque[Failure] = deque(maxlen=keep)

    def latest(self) -> Sequence[Failure]:
        """Return the latest failures, the newest last."""
        new: list[Failure] = []
        for path in sorted(self.directory.glob("*.log")):
            new += self._new_in(path)
        self._latest.extend(sorted(new, key=lambda failure: failure.at))
        return tuple(self._latest)

    def _new_in(self, path: Path) -> list[Failure]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(complete)
        lines = complete.decode(errors="replace").splitlines()
        return [failure for line in lines if (failure := parse_failure(line)) is not None]


def parse_failure(line: str) -> Failure | None:
    """Return the failure in a line of a worker's log, if there is one."""
    match = LINE.search(line)
    if match is None:
        return None
    error = match["error"].replace('\\"', '"')
    return Failure(match["at"], match["handler"], int(match["attempt"]), match["then"], error)
