"""The command: a sample of faults with a fixed seed, and the score."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from random import Random

from devtools.mutants.mutation import Mutation, mutations_of
from devtools.mutants.trial import ROOT, TESTS, WIDE, Outcome, Trial


def main(argv: Sequence[str]) -> int:
    """Return 0 if the tests detect every fault, 1 if one survives, 2 if they fail without one."""
    options = _parse(argv)
    chosen = sample(options.package or list(TESTS), options.sample, options.seed)
    survivors: list[Mutation] = []
    with Trial(options.timeout) as trial:
        for package in sorted({package for package, _ in chosen}):
            _report(f"{package}: the tests without a fault")
            if not trial.passes(TESTS[package]):
                _report(f"{package}: its tests fail or hang without a fault; fix that first")
                return 2
        for number, (package, mutation) in enumerate(chosen, 1):
            outcome = trial.judge(mutation, TESTS[package])
            if outcome is Outcome.SURVIVED and options.wide:
                outcome = trial.judge(mutation, WIDE)
            if outcome is Outcome.SURVIVED:
                survivors.append(mutation)
            _report(f"{number}/{len(chosen)}  {outcome:8}  {mutation}")
    noticed = len(chosen) - len(survivors)
    if options.json:
        names = [str(mutation) for mutation in survivors]
        print(json.dumps({"seed": options.seed, "faults": len(chosen), "noticed": noticed,
                          "survivors": names}))  # fmt: skip
    else:
        for mutation in survivors:
            print(f"survived  {mutation}")
        share = noticed / len(chosen) if chosen else 1.0
        print(f"{noticed} of {len(chosen)} faults noticed ({share:.0%}), seed {options.seed}")
    return 1 if survivors else 0


def sample(packages: Sequence[str], size: int, seed: int) -> list[tuple[str, Mutation]]:
    """Return the same number of faults for each package, chosen by the seed."""
    random = Random(seed)
    chosen: list[tuple[str, Mutation]] = []
    for n, package in enumerate(packages):
        share = size // len(packages) + (n < size % len(packages))
        mutations = [
            mutation
            for path in sorted((ROOT / "src" / "celeriac" / package).rglob("*.py"))
            for mutation in mutations_of(str(path.relative_to(ROOT)), path.read_text("utf-8"))
        ]
        sampled = random.sample(mutations, min(share, len(mutations)))
        chosen += [(package, mutation) for mutation in sampled]
    return chosen


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py mutants",
        description="Puts faults into the Python code one at a time, and lists the faults that the "
        "tests do not detect. Some faults change no behaviour: look at each.",
    )
    parser.add_argument("--sample", type=int, default=35, metavar="N", help="faults (default 35)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default 1)")
    parser.add_argument(
        "--package", action="append", choices=list(TESTS), help="only of this one; repeatable"
    )
    parser.add_argument("--wide", action="store_true", help="judge survivors by all tests as well")
    parser.add_argument(
        "--timeout", type=float, default=600, metavar="S", help="a run of tests (default 600 s)"
    )
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    return parser.parse_args(argv)


def _report(text: str) -> None:
    print(f"mutants: {text}", file=sys.stderr, flush=True)
