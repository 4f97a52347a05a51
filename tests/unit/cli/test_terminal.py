"""What a terminal is sent: nothing of an event or a record that it would obey."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import celeriac.cli
from celeriac.cli.group import CommandError
from celeriac.cli.terminal import make_console
from celeriac.visible import visible, visible_json

CLI = Path(celeriac.cli.__file__).parent
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@given(st.text())
def test_no_text_holds_what_a_terminal_obeys(text: str) -> None:
    shown = visible(text)
    assert OBEYED.search(shown) is None
    assert len(shown) == len(text)
    assert visible(shown) == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_means_the_same(text: str) -> None:
    shown = visible_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert OBEYED.search(shown) is None
    assert json.loads(shown) == {text: [text]}


def test_a_text_without_control_characters_is_shown_as_it_is() -> None:
    assert visible("Größe 5 €\n\tzwei 😀") == "Größe 5 €\n\tzwei 😀"
    assert visible("\x1b[2J\x7f\x9b\u202ex\r") == "␛[2J␡��x␍"


def test_a_console_shows_styles_and_no_escapes_of_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    console = make_console(60, force_terminal=True)
    table = Table("a")
    table.add_row(Text("in\x1b[2J", style="red"))
    console.print(Text.assemble(("x\x1b]0;t\x07", "bold"), " y\u202e"))
    console.print("plain\x1b[8m")
    console.print(table)
    written = out.getvalue()
    assert "\x1b[1m" in written  # rich's own
    for forged in ("\x1b[2J", "\x1b]0", "\x07", "\u202e", "\x1b[8m"):
        assert forged not in written


def test_a_failure_is_shown_without_escapes() -> None:
    assert CommandError("no event \x1b[2J").format_message() == "no event ␛[2J"


def test_commands_write_through_the_one_place_that_escapes() -> None:
    outside = re.compile(
        r"click\.(s?echo|confirm|prompt)\(|\bprint\((?!_)|[^_\w]Console\(|stdout\.write"
    )
    for source in CLI.rglob("*.py"):
        if source.name == "terminal.py":
            continue
        for line in source.read_text(encoding="utf-8").splitlines():
            if ".print(" not in line and "TYPE_CHECKING" not in line:
                assert outside.search(line) is None, f"{source}: {line}"
