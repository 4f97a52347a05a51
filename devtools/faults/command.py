"""python3 dev.py faults"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from devtools.faults import show
from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.page import keep, load, page
from devtools.faults.row import Row
from devtools.faults.run import run
from devtools.faults.table import chosen
from devtools.rabbitmq import EmbeddedRabbit, RabbitFailed, rabbitmq_version

ALL = "all"


def main(argv: Sequence[str]) -> int:
    """Runs the chosen faults one after another. 0 if each row is as promised, and nothing lost."""
    options = _options(argv)
    brokers = (REDIS, RABBITMQ) if options.broker == ALL else (options.broker,)
    faults = [
        (broker, fault)
        for broker in brokers
        for fault in chosen(full=options.full, only=options.only, broker=broker)
    ]
    if options.list:
        for _, fault in faults:
            print(f"{fault.name}: {fault.about}")
        return 0
    if not faults:
        print(f"faults: no fault is named like {options.only!r}; --list shows all", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        rows = _run_all(faults, options)
    except RabbitFailed as error:
        print(f"faults: {error}", file=sys.stderr)
        return 3
    if options.json:
        print(msgspec.json.encode([row.as_dict() for row in rows]).decode())
    else:
        print(show.markdown(rows) if options.markdown else show.text(rows))
    if options.page:
        Path(options.page).write_text(page(rows, rabbitmq_version() if len(brokers) > 1 else ""))
    failed = [row.fault for row in rows if not row.ok]
    result = "FAILED: " + ", ".join(failed) if failed else "each as promised, nothing lost"
    print(f"{len(rows)} faults in {time.monotonic() - began:.0f} s; {result}", file=sys.stderr)
    return 1 if failed else 0


def _run_all(faults: Sequence[tuple[str, Fault]], options: argparse.Namespace) -> list[Row]:
    """Run the faults one after another. With `--rows`, skip the faults whose rows exist."""
    directory = Path(options.logs or tempfile.mkdtemp(prefix="celeriac-faults-"))
    kept = Path(options.rows) if options.rows else None
    known = {(row.broker, row.fault): row for row in (load(kept) if kept else [])}
    rabbits: list[EmbeddedRabbit] = []
    rows: list[Row] = []
    try:
        for n, (broker, fault) in enumerate(faults, 1):
            if (broker, fault.name) in known:
                rows.append(known[broker, fault.name])
                continue
            if broker == RABBITMQ and not rabbits:
                rabbits = [EmbeddedRabbit(directory / f"rabbit{n}") for n in (1, 2)]
            print(f"{n}/{len(faults)} {fault.name}: {fault.about}", file=sys.stderr, flush=True)
            folder = directory / f"{n:02d}"
            nodes = rabbits if broker == RABBITMQ else ()
            row = run(fault, folder, full=options.full, stock=options.stock, rabbits=nodes)
            rows.append(row)
            if kept:
                keep(kept, row)
            print(f"    {_line(row)}", file=sys.stderr, flush=True)
    finally:
        for rabbit in rabbits:
            rabbit.stop()
        if not options.logs:
            shutil.rmtree(directory, ignore_errors=True)
    return rows


def _line(row: Row) -> str:
    result = row.failed or "ok"
    return f"{result} ({row.seconds:.1f} s; {row.deliveries} deliveries, lost {row.lost})"


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py faults", description="Injects faults, and counts what is lost or doubled."
    )
    parser.add_argument("--full", action="store_true", help="all faults, each more often")
    parser.add_argument("--only", default="", metavar="NAME", help="those whose name contains it")
    parser.add_argument(
        "--broker",
        choices=(REDIS, RABBITMQ, ALL),
        default=REDIS,
        help="Celery's; the log is in Redis",
    )
    parser.add_argument("--no-stock", dest="stock", action="store_false", help="celeriac alone")
    parser.add_argument("--json", action="store_true", help="the rows as one line of JSON")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--rows", metavar="FILE", help="keep rows there, and run the others only")
    parser.add_argument("--page", metavar="FILE", help="write docs/reference/faults.md there")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument("--logs", metavar="DIRECTORY", help="keep the workers' logs there")
    return parser.parse_args(argv)
