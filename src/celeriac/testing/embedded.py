"""The base of embedded servers: a guarded process that can be stopped, killed and started again."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from celeriac.testing.process_guard import GuardedProcess


class Embedded:
    """Leaving its `with` block closes it. `_process` is None until the first start."""

    _process: GuardedProcess | None = None

    def stop(self) -> None:
        """Send SIGTERM and wait for the end: the server saves its data. Idempotent."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end: the server crashes. Idempotent."""
        if self._process is not None:
            self._process.kill_group()
            self._process.wait()

    def close(self) -> None:
        """Stop it, and remove what it leaves behind."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
