"""Run a command in a terminal, and draw what its screen shows."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.text import Text

HOME = b"\x1b[H"  # the cursor goes home: a new frame begins
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class TerminalCommand:
    """A command in a pseudo-terminal. Leaving the `with` block ends it."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], width: int, height: int
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environment = {**os.environ, **env, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._output = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._master, 65536)
            except OSError:  # Linux reports the end of a terminal as an error
                return
            if not part:
                return
            self._output += part

    @property
    def output(self) -> str:
        """All that was written so far, with its escape sequences."""
        return self._output.decode(errors="replace")

    @property
    def frame(self) -> str:
        """The last complete frame of a live screen; empty before the second one begins."""
        frames = bytes(self._output).split(HOME)
        return frames[-2].decode(errors="replace") if len(frames) > 2 else ""

    def press(self, key: str) -> None:
        """Type a key."""
        os.write(self._master, key.encode())

    def wait_for(self, is_there: Callable[[str], bool], seconds: float) -> str:
        """Return the first frame for which `is_there` holds. Raises TimeoutError, with the last."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if is_there(frame := self.frame):
                return frame
            if self.process.poll() is not None:
                self._reader.join(5)  # its last output
                if is_there(frame := self.frame):
                    return frame
                break
            time.sleep(0.1)
        raise TimeoutError(f"the screen did not show it within {seconds:g} s:\n{self.output}")

    def wait(self, seconds: float) -> str:
        """Wait for the end of the command, and return its output."""
        self.process.wait(seconds)
        self._reader.join(5)
        return self.output

    def __enter__(self) -> TerminalCommand:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def draw(screen: str, *, width: int, title: str, name: str) -> str:
    """Return an SVG of a terminal screen. `name` is unique among the pictures."""
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    lines = [Text.from_ansi(line.rstrip("\r")) for line in screen.rstrip().split("\n")]
    for line in lines:
        line.rstrip()
        line.no_wrap = True
    while lines and not lines[-1].plain:
        lines.pop()
    for line in [*lines, Text("")]:  # the border cuts into the last line
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title=title, unique_id=name)
    # fonts that a system has, and none from the network
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
    return svg.replace("Fira Code, monospace", FONTS)
