"""The rows as a table: for a terminal, and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from devtools.faults.row import Row

HEADINGS = (
    "fault", "injected", "deliveries", "lost", "effects doubled", "executions doubled",
    "unexplained", "dead", "recovery s", "lease s",
    "stock deliveries", "stock lost", "stock doubled", "",
)  # fmt: skip


def text(rows: Sequence[Row]) -> str:
    """Columns of equal width, headings in two lines."""
    cells = [_cells(row) for row in rows]
    heads = [tuple(heading.rpartition(" ")[::2]) for heading in HEADINGS]
    lines = [[first for first, _ in heads], [last for _, last in heads], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    return "\n".join(_aligned(line, widths) for line in lines)


def markdown(rows: Iterable[Row]) -> str:
    right = ["---", *["---:"] * (len(HEADINGS) - 2), "---"]
    lines = [HEADINGS, right, *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> list[str]:
    failed = f"FAILED: {row.failed}" if row.failed else ""
    text = "; ".join(part for part in (failed, row.note) if part)
    numbers = (
        row.injected, row.deliveries, row.lost, row.effects_doubled, row.executions_doubled,
        row.unexplained, row.dead, row.recovery, row.lease,
        row.stock_deliveries, row.stock_lost, row.stock_doubled,
    )  # fmt: skip
    return [row.fault, *("–" if n is None else f"{n:,}" for n in numbers), text]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [line[0].ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
    return "  ".join([*cells, line[-1]]).rstrip()
