"""`python -m benchmarks`: measure, and tell."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.curves import CURVES
from benchmarks.machine import describe
from benchmarks.measurement import Measurement
from benchmarks.publish import publish
from benchmarks.rounds import run
from benchmarks.table import TABLE
from celeriac.errors import CeleriacError


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    # So that a SIGTERM, as of `timeout`, ends what was started and removes what was written.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [*TABLE, *(CURVES if options.full else ())]
    if options.only:
        chosen = [m for m in [*TABLE, *CURVES] if m.name in options.only]
    try:
        with Bench(quick=options.quick, rounds=options.rounds, seconds=options.seconds) as bench:
            facts = {**describe(bench), "command": " ".join(["dev.py bench", *argv])}
            outcomes = [run(bench, measurement) for measurement in measurable(chosen, bench)]
    except CeleriacError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print((report.as_json if options.json else report.text)(outcomes, facts))
    if options.publish:
        publish(outcomes, facts)
    return 0


def measurable(chosen: Sequence[Measurement], bench: Bench) -> list[Measurement]:
    return [m for m in chosen if not bench.quick or any(c.quick for c in m.contestants)]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    names = [m.name for m in (*TABLE, *CURVES)]
    parser = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Measures celeriac and its peers on the same work in turns, on a server of "
        "its own. The ratios count: values of different runs do not compare.",
    )
    parser.add_argument("--quick", action="store_true", help="the goals only, under two minutes")
    parser.add_argument("--full", action="store_true", help="the curves as well")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--rounds", type=int, help="samples of each contestant")
    parser.add_argument("--seconds", type=float, help="about how long a sample lasts")
    parser.add_argument(
        "--publish", action="store_true", help="write docs/reference/benchmarks.md and its charts"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
