"""What every embedded server is: a guarded process, stopped or killed as often as one likes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from celeriac.testing.process_guard import GuardedProcess


class Embedded:
    """`_process` is there once it was started. Leaving its `with` block stops it."""

    _process: GuardedProcess | None = None

    def stop(self) -> None:
        """SIGTERM: it writes out or hands over what it has, and ends. Twice does no harm."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash. Twice does no harm."""
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
