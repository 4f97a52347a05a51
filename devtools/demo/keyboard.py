"""Read the keys that the user presses, if the demo runs in a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from types import TracebackType

from celeriac.cli.top.keyboard import pressed, raw_keys


class Keyboard:
    """Reads keys as they are pressed, within its `with` block; none without a terminal."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._terminal: int | None = None

    def wait(self, seconds: float) -> list[str]:
        """Block for `seconds`, or until a key is pressed; return the names of the keys."""
        if self._terminal is None:
            time.sleep(seconds)
            return []
        return pressed(self._terminal, seconds)

    def __enter__(self) -> Keyboard:
        if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
            self._terminal = self._stack.enter_context(raw_keys())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
