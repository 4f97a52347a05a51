"""Print the result of a check as text, or return it as a document."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from celeriac.cli.show import count
from celeriac.cli.terminal import echo
from celeriac.contract.change import changes
from celeriac.contract.check import Changed, CheckInputs
from celeriac.contract.judgement import Break, HandlerReader, Judgement, Writer
from celeriac.contract.schema_uri import FIRST

MAX_EXAMPLE = 200


def print_changed(changed: list[Changed]) -> None:
    for change in changed:
        echo(
            f"{change.type} v{change.version}  changed since {change.found_in} without a new "
            "version number"
        )
        for line in change.changes:
            echo(f"  {line}")
        echo(
            f"  Set version={change.version + 1} on the new model, and add "
            f"@upcast({change.type!r}, {change.version})"
        )


def print_judgement(sources: CheckInputs, judgement: Judgement) -> None:
    """Print each version that breaks a reader, with example data, then the readers that take it."""
    breaks: dict[Writer, list[Break]] = defaultdict(list)
    for break_ in judgement.breaks:
        breaks[break_.writer].append(break_)
    fine: dict[Writer, set[str]] = defaultdict(set)
    for writer, reader in judgement.fine:
        fine[writer].add(reader.handler)
    for writer, broken in breaks.items():
        echo(_headline(sources, writer))
        for break_ in broken:
            echo(
                f"  breaks {break_.reader.handler}  ({_where(break_.reader)})  "
                f"{_cut(break_.example)}"
            )
            echo(f"         {break_.reason}")
            echo(f"         → {remedy_of(break_)}")
        if others := sorted(fine[writer] - {break_.reader.handler for break_ in broken}):
            echo(f"  fine   {', '.join(others)}")


def summary(judgement: Judgement) -> str:
    pairs = len(judgement.breaks) + len(judgement.fine)
    if not judgement.breaks:
        return f"Every reader takes every version: {count(pairs, 'pair')} checked."
    handlers = {break_.reader.handler for break_ in judgement.breaks}
    services = {break_.reader.service for break_ in judgement.breaks}
    return (
        f"{count(len(handlers), 'handler')} of {count(len(services), 'service')} "
        f"{'breaks' if len(handlers) == 1 else 'break'}: {count(pairs, 'pair')} checked."
    )


def as_document(changed: list[Changed], judgement: Judgement, stale: list[str]) -> dict[str, Any]:
    """Return the result for `--json`."""
    return {
        "changed": [
            {"type": c.type, "version": c.version, "since": c.found_in, "changes": c.changes}
            for c in changed
        ],
        "stale": stale,
        "breaks": [
            {
                "type": break_.writer.type,
                "version": break_.writer.version,
                "writer": break_.writer.found_in,
                "handler": break_.reader.handler,
                "service": break_.reader.service,
                "reader": break_.reader.found_in,
                "workers": break_.reader.workers,
                "reason": break_.reason,
                "example": break_.example,
                "remedy": remedy_of(break_),
            }
            for break_ in judgement.breaks
        ],
        "fine": [
            {"type": w.type, "version": w.version, "handler": r.handler} for w, r in judgement.fine
        ],
    }


def remedy_of(break_: Break) -> str:
    """Return what makes the reader accept the version."""
    writer, reader = break_.writer, break_.reader
    reads = reader.reads.of(writer.type)
    target = reads.versions.get(writer.type)
    older = f"@upcast({writer.type!r}, {writer.version})"
    if writer.version > (target or FIRST):
        return (
            f"make {reader.service} read version {writer.version}, with an @upcast from older "
            f"versions, and deploy it before version {writer.version} is emitted"
        )
    if target is None or writer.version == target:
        return f"give the new data a version of its own, or change the type of {reader.handler}"
    if writer.version in reads.upcasts.get(writer.type, ()):
        return f"change {older} in {reader.service}"
    return (
        f"add {older} to {reader.service}. If no event of version {writer.version} is left, first "
        f"merge the result of `celeriac contracts lock --forget {writer.type}:{writer.version}`"
    )


def _headline(sources: CheckInputs, writer: Writer) -> str:
    older = [
        candidate
        for candidate in sources.writers()
        if candidate.type == writer.type and candidate.version < writer.version
    ]
    if not older:
        return f"{writer.title}  from {writer.found_in}"
    last = older[-1]
    lines = changes(last.schema, writer.schema)
    return f"{writer.type}  v{last.version} → v{writer.version}  {'; '.join(lines)}"


def _where(reader: HandlerReader) -> str:
    if reader.workers:
        return f"running in {count(len(reader.workers), 'worker')}"
    return reader.found_in


def _cut(example: str) -> str:
    return example if len(example) <= MAX_EXAMPLE else f"{example[: MAX_EXAMPLE - 1]}…"
