"""The base of embedded servers: a guarded process that can be stopped or killed repeatedly."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from celeriac.testing.process_guard import GuardedProcess


class Embedded:
    """An embedded server. Leaving its `with` block stops it."""

    _process: GuardedProcess | None = None

    def stop(self) -> None:
        """Send SIGTERM and wait for the end, after which all data is written. Idempotent."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """Send SIGKILL, to simulate a crash, and wait for the end. Idempotent."""
        if self._process is not None:
            self._process.kill_group()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
