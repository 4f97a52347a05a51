"""Tables at the width of the terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from celeriac.cli import show

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


def test_columns_are_shed_in_their_order_and_named_below(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rendered(monkeypatch, 40, shed=("mean", "waiting"))
    assert ["handler", "domain", "waiting"] == lines[0].split()
    assert "Not shown at this width: mean." == lines[-1]


def test_a_folding_column_wraps_and_loses_no_character(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rendered(monkeypatch, 38, fold={"handler": 10})
    assert "billing.charge_card" == "".join(line.split()[0] for line in lines[1:])
    assert "12,345" in lines[1]


def test_a_column_that_neither_folds_nor_is_shed_is_never_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = rendered(monkeypatch, 30, fold={"handler": 10}, shed=("domain", "mean"))
    assert "…" not in "".join(lines)
    assert "12,345" in lines[1]
