"""Tables at the width of the terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from celeriac.cli import show
from celeriac.visible import listed

HEADERS = ("handler", "domain", "waiting", "mean")
ROW = ("billing.charge_card", "order", "12,345", "6.0 ms")


def rendered(monkeypatch: pytest.MonkeyPatch, width: int, **options: object) -> list[str]:
    out = StringIO()
    monkeypatch.setattr(show, "console", lambda: Console(file=out, width=width))
    show.table(HEADERS, [ROW], right=("waiting", "mean"), **options)  # type: ignore[arg-type]
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    return lines


def test_a_wide_terminal_shows_every_column_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rendered(monkeypatch, 80, shed=("mean",), fold={"handler": 10})
    assert [list(HEADERS), list(ROW)] == [line.split(maxsplit=3) for line in lines]


def test_lines_in_a_pipe_have_no_spaces_at_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    monkeypatch.setattr(show, "console", lambda: Console(file=out, width=show.UNBOUNDED))
    show.table(("handler", "error"), [("a.b", "x" * 300), ("a.c", "[no] :smile:")])
    assert ["handler  error", f"a.b      {'x' * 300}", "a.c      [no] :smile:"] == (
        out.getvalue().splitlines()
    )


def test_columns_are_shed_in_their_order_and_named_below(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rendered(monkeypatch, 40, shed=("mean", "waiting"))
    assert ["handler", "domain", "waiting"] == lines[0].split()
    assert "Not shown at this width: mean." == lines[-1]


def test_a_folding_column_wraps_and_loses_no_character(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rendered(monkeypatch, 38, fold={"handler": 10})
    assert "billing.charge_card" == "".join(line.split()[0] for line in lines[1:])
    assert "12,345" in lines[1]


def test_a_name_wraps_after_a_separator(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rendered(monkeypatch, 34, fold={"handler": 10})
    assert [line.split()[0] for line in lines[1:]] == ["billing.", "charge_", "card"]


def test_a_word_without_a_separator_wraps_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    monkeypatch.setattr(show, "console", lambda: Console(file=out, width=10))
    show.table(("name",), [("a" * 24,), ("a.b " + "c" * 11,)], fold={"name": 10})
    lines = out.getvalue().split()
    assert lines == ["name", "a" * 10, "a" * 10, "a" * 4, "a.b", "c" * 10, "c"]


def test_a_column_that_neither_folds_nor_is_shed_is_never_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = rendered(monkeypatch, 30, fold={"handler": 10}, shed=("domain", "mean"))
    assert "…" not in "".join(lines)
    assert "12,345" in lines[1]


def test_a_table_that_cannot_fit_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = StringIO()
    monkeypatch.setattr(show, "console", lambda: Console(file=out, width=20))
    show.table(HEADERS, [ROW], right=("waiting", "mean"))
    assert [list(HEADERS), list(ROW)] == [
        line.split(maxsplit=3) for line in map(str.rstrip, out.getvalue().splitlines())
    ]


@pytest.mark.parametrize(("terminal", "shown"), [(True, 500), (False, 612)])
def test_a_terminal_gets_so_many_rows_and_how_many_more_there_are(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, shown: int
) -> None:
    """A pipe gets them all: what is looked for there must not be left out."""
    out = StringIO()
    made = Console(file=out, width=80, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(show, "console", lambda: made)
    show.table(("n",), [(f"row{n}",) for n in range(612)])
    lines = out.getvalue().splitlines()
    assert shown == sum(line.startswith("row") for line in lines)
    assert terminal == ("and 112 more" in lines[-1])


def test_of_many_names_the_first_are_listed() -> None:
    assert "a, b" == listed(["a", "b"])
    assert "" == listed([])
    names = [str(n) for n in range(1234)]
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1,224 more" == listed(names)
    assert ", ".join(names[:10]) == listed(names[:10])
