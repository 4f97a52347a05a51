"""What the demo is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

RATE = 20.0  # orders a second of a stream without an end


@dataclass(frozen=True, slots=True)
class Options:
    """`events` None is a stream without an end; `rate` None is as fast as it goes."""

    events: int | None
    rate: float | None
    exit: bool
    json: bool
    port: int
    concurrency: int | None


def parse(argv: Sequence[str]) -> Options:
    """Exits with a message where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="dev.py demo",
        description="A shop of five services on this machine, and every event accounted for.",
    )
    parser.add_argument("--events", type=int, metavar="N", help="place N orders, then no more")
    parser.add_argument("--exit", action="store_true", help="end when all of them are dealt with")
    parser.add_argument("--json", action="store_true", help="the summary as one line of JSON")
    parser.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help=f"orders a second (default {RATE:g}; with --events as fast as it goes)",
    )
    parser.add_argument("--port", type=int, default=5555, help="Flower's, or the next free one")
    parser.add_argument("--concurrency", type=int, metavar="C", help="processes of each worker")
    given = parser.parse_args(argv)
    for name in ("events", "rate", "concurrency"):
        value = getattr(given, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} {value}: must be more than 0")
    if given.exit and given.events is None:
        parser.error("--exit needs --events: a stream without an end is never dealt with")
    return Options(
        events=given.events,
        rate=given.rate or (RATE if given.events is None else None),
        exit=given.exit,
        json=given.json,
        port=given.port,
        concurrency=given.concurrency,
    )
