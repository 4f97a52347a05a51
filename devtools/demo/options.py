"""The options of the demo."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

RATE = 8.0  # orders a second of an endless stream; two cores process about 12


@dataclass(frozen=True, slots=True)
class Options:
    """`events` is None for an endless stream, `rate` for no limit."""

    events: int | None
    rate: float | None
    exit: bool
    json: bool
    port: int
    concurrency: int | None


def parse(argv: Sequence[str]) -> Options:
    """Parse the command line. Exits with a message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="dev.py demo",
        description="A shop of five services on this machine, with every delivery accounted for.",
    )
    parser.add_argument("--events", type=int, metavar="N", help="place N orders, then no more")
    parser.add_argument(
        "--exit", action="store_true", help="end when all their deliveries are finished"
    )
    parser.add_argument("--json", action="store_true", help="the summary as one line of JSON")
    parser.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help=f"orders a second (default {RATE:g}; no limit with --events)",
    )
    parser.add_argument(
        "--port", type=int, default=5555, help="Flower's port, or the next free one"
    )
    parser.add_argument("--concurrency", type=int, metavar="C", help="processes of each worker")
    given = parser.parse_args(argv)
    for name in ("events", "rate", "concurrency"):
        value = getattr(given, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} {value}: must be more than 0")
    if given.exit and given.events is None:
        parser.error("--exit needs --events: an endless stream is never finished")
    return Options(
        events=given.events,
        rate=given.rate or (RATE if given.events is None else None),
        exit=given.exit,
        json=given.json,
        port=given.port,
        concurrency=given.concurrency,
    )
