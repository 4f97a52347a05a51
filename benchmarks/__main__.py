"""`python -m benchmarks`: measure, and print the results."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.curves import CURVES
from benchmarks.machine import describe
from benchmarks.measurement import Measurement, Outcome
from benchmarks.publish import publish
from benchmarks.rounds import reason, run
from benchmarks.saved_result import SavedResults
from benchmarks.table import TABLE
from celeriac.errors import CeleriacError


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    store = SavedResults(options.store) if options.store else None
    # So that a SIGTERM, as of `timeout`, ends what was started and removes what was written.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [*TABLE, *(CURVES if options.full else ())]
    if options.only:
        chosen = [m for m in [*TABLE, *CURVES] if m.name in options.only]
    elif store is not None:
        chosen = [m for m in chosen if m.name not in store]
    outcomes: list[Outcome] = []
    facts: dict[str, str] = {}
    complete = not chosen
    try:
        if chosen:
            with Bench(
                quick=options.quick,
                rounds=options.rounds,
                seconds=options.seconds,
                patience=options.patience,
            ) as bench:
                facts = {**describe(bench), "command": " ".join(["python3 dev.py bench", *argv])}
                for measurement in measurable(chosen, bench):
                    outcomes.append(survive(bench, measurement))
                    if store is not None:
                        store.add(outcomes[-1], facts)
        complete = True
    except (KeyboardInterrupt, SystemExit):
        print("bench: interrupted; this is what was measured until then", file=sys.stderr)
    except CeleriacError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if store is not None:
        outcomes, facts = store.outcomes, dict(store.facts)
    else:
        facts |= report.conditions(outcomes)
    print((report.as_json if options.json else report.text)(outcomes, facts))
    if complete and options.publish:
        publish(outcomes, facts)
    return 0 if complete else 130


def survive(bench: Bench, measurement: Measurement) -> Outcome:
    """What `run` finds; where it fails as a whole, that is what each candidate has to show."""
    try:
        return run(bench, measurement)
    except Exception as error:
        outcome = Outcome(measurement)
        outcome.failed = dict.fromkeys((c.name for c in measurement.candidates), reason(error))
        return outcome


def measurable(chosen: Sequence[Measurement], bench: Bench) -> list[Measurement]:
    return [m for m in chosen if not bench.quick or any(c.quick for c in m.candidates)]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    names = [m.name for m in (*TABLE, *CURVES)]
    parser = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Measures celeriac and its peers on the same work in turns, on a server of "
        "its own. The ratios count: values of different runs do not compare.",
    )
    parser.add_argument("--quick", action="store_true", help="most of the goals, in few minutes")
    parser.add_argument("--full", action="store_true", help="the curves as well")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--rounds", type=int, help="samples of each candidate")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long each measurement may wait while others use the machine",
    )
    parser.add_argument("--seconds", type=float, help="about how long a sample lasts")
    parser.add_argument(
        "--store",
        type=Path,
        metavar="FILE",
        help="keep each measurement in FILE as soon as it is made; one that is in it is not made "
        "again, unless a candidate failed or --only names it",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="at the end, write docs/reference/benchmarks.md, its charts and the figures of the "
        "README",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
