"""The pictures show what a terminal shows, with fonts that need no network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from devtools.pictures.terminal import TerminalCommand, draw

FRAMES = """\
import sys, time
for number in range(1, 4):
    sys.stdout.write(f"\\x1b[H\\x1b[32mframe {number}\\x1b[0m\\n")
    sys.stdout.flush()
sys.stdin.read(1)
"""


def texts(svg: str) -> str:
    return re.sub(r"<[^>]*>", "", svg.partition("</defs>")[2]).replace("&#160;", " ")


def test_a_picture_has_the_lines_of_the_screen() -> None:
    svg = draw("\x1b[1mone\x1b[0m\ntwo <3>\n\n\n", width=40, title="a title", name="frame")
    lines = [line.strip() for line in texts(svg).split("\n") if line.strip()]
    assert ["a title", "one", "two &lt;3&gt;"] == lines


def test_a_picture_loads_nothing_from_the_network() -> None:
    svg = draw("text", width=40, title="", name="frame")
    assert "@font-face" not in svg and re.findall(r"https?://(?!www\.)", svg) == []
    assert "ui-monospace" in svg


def test_the_frame_of_a_live_screen_is_the_last_complete_one(tmp_path: Path) -> None:
    with TerminalCommand(
        [sys.executable, "-c", FRAMES], cwd=tmp_path, env={}, width=40, height=10
    ) as command:
        frame = command.wait_for(lambda frame: "frame 2" in frame, 20)
        assert "frame 1" not in frame and "frame 3" not in frame
        command.press("q\n")
        assert "frame 3" in command.wait(20)


def test_a_screen_that_never_shows_it_is_reported_with_the_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('something else')"]
    with (
        TerminalCommand(command, cwd=tmp_path, env={}, width=40, height=10) as terminal,
        pytest.raises(TimeoutError, match="something else"),
    ):
        terminal.wait_for(lambda frame: "frame" in frame, 20)
