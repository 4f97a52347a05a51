"""What a check found, for people and for programs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from celeriac.cli.show import count
from celeriac.cli.terminal import echo
from celeriac.contract.change import changes
from celeriac.contract.check import Changed, Sources
from celeriac.contract.judgement import Break, Judgement, Reader, Writer

MAX_EXAMPLE = 200


def print_changed(changed: list[Changed]) -> None:
    for one in changed:
        echo(f"{one.type} v{one.version}  was changed since {one.found_in} under the same number")
        for line in one.changes:
            echo(f"  {line}")
        echo(
            f"  Give the new model version={one.version + 1}, and write "
            f"@upcast({one.type!r}, {one.version})"
        )


def print_judgement(sources: Sources, judgement: Judgement) -> None:
    """Each version that breaks a reader, with the data; then the readers that take it."""
    breaks: dict[Writer, list[Break]] = defaultdict(list)
    for one in judgement.breaks:
        breaks[one.writer].append(one)
    fine: dict[Writer, set[str]] = defaultdict(set)
    for writer, reader in judgement.fine:
        fine[writer].add(reader.handler)
    for writer, found in breaks.items():
        echo(_headline(sources, writer))
        for one in found:
            echo(f"  breaks {one.reader.handler}  ({_where(one.reader)})  {_cut(one.example)}")
            echo(f"         {one.reason}")
        if others := sorted(fine[writer] - {one.reader.handler for one in found}):
            echo(f"  fine   {', '.join(others)}")


def summary(judgement: Judgement) -> str:
    pairs = len(judgement.breaks) + len(judgement.fine)
    if not judgement.breaks:
        return f"Every reader takes every version: {count(pairs, 'pair')} checked."
    handlers = {one.reader.handler for one in judgement.breaks}
    services = {one.reader.service for one in judgement.breaks}
    return (
        f"{count(len(handlers), 'handler')} of {count(len(services), 'service')} "
        f"{'breaks' if len(handlers) == 1 else 'break'}: {count(pairs, 'pair')} checked."
    )


def as_document(changed: list[Changed], judgement: Judgement, stale: list[str]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "changed": [
            {"type": c.type, "version": c.version, "since": c.found_in, "changes": c.changes}
            for c in changed
        ],
        "stale": stale,
        "breaks": [
            {
                "type": one.writer.type,
                "version": one.writer.version,
                "writer": one.writer.found_in,
                "handler": one.reader.handler,
                "service": one.reader.service,
                "reader": one.reader.found_in,
                "workers": one.reader.workers,
                "reason": one.reason,
                "example": one.example,
            }
            for one in judgement.breaks
        ],
        "fine": [
            {"type": w.type, "version": w.version, "handler": r.handler} for w, r in judgement.fine
        ],
    }


def _headline(sources: Sources, writer: Writer) -> str:
    older = [
        one for one in sources.writers() if one.type == writer.type and one.version < writer.version
    ]
    if not older:
        return f"{writer.title}  from {writer.found_in}"
    last = older[-1]
    lines = changes(last.schema, writer.schema)
    return f"{writer.type}  v{last.version} → v{writer.version}  {'; '.join(lines)}"


def _where(reader: Reader) -> str:
    if reader.workers:
        return f"running in {count(len(reader.workers), 'worker')}"
    return reader.found_in


def _cut(example: str) -> str:
    return example if len(example) <= MAX_EXAMPLE else f"{example[: MAX_EXAMPLE - 1]}…"
