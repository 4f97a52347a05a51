"""The command: a sample of faults with a fixed seed, and the score."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from devtools.mutants.mutation import Mutation
from devtools.mutants.recording import Recording
from devtools.mutants.sample import TESTS, sample
from devtools.mutants.selection import tests_of_line, tests_of_module
from devtools.mutants.trial import Judgement, Outcome, RecordingFails, Trial


def main(argv: Sequence[str]) -> int:
    """Return 0 if the tests detect every fault, 1 if one survives, 2 if they cannot run."""
    options = _parse(argv)
    chosen = sample(options.package or list(TESTS), options.sample, options.seed)
    survivors: list[Mutation] = []
    try:
        for number, (mutation, judgement) in enumerate(_judgements(chosen, options), 1):
            if judgement.outcome is Outcome.SURVIVED:
                survivors.append(mutation)
            _report(f"{number}/{len(chosen)}  {judgement.outcome:8}  {mutation}")
            _report(f"    {judgement.tests} tests  {judgement.reason}")
    except RecordingFails as error:
        _report(f"the tests cannot judge; fix that first\n{error}")
        return 2
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


def _judgements(
    chosen: Sequence[tuple[str, Mutation]], options: argparse.Namespace
) -> Iterator[tuple[Mutation, Judgement]]:
    """Judge as many faults at a time as there are jobs, each in a copy of its own."""
    with ExitStack() as stack:
        trials: SimpleQueue[Trial] = SimpleQueue()
        first = stack.enter_context(Trial())
        for trial in (first, *(stack.enter_context(Trial()) for _ in range(options.jobs - 1))):
            trials.put(trial)
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs))
        stack.callback(pool.shutdown, cancel_futures=True)
        for package in dict.fromkeys(package for package, _ in chosen):
            recording = _record(first, package, options.timeout)

            def judge(mutation: Mutation, recording: Recording = recording) -> Judgement:
                trial = trials.get()
                try:
                    return _judge(trial, mutation, recording, options.wide)
                finally:
                    trials.put(trial)

            mutations = [mutation for name, mutation in chosen if name == package]
            yield from zip(mutations, pool.map(judge, mutations), strict=True)


def _record(trial: Trial, package: str, seconds: float) -> Recording:
    started = time.monotonic()
    recording = trial.record(package, TESTS[package], seconds)
    took = time.monotonic() - started
    _report(f"{package}: {len(recording)} tests in {took:.0f} s without a fault")
    for name, test in recording.items():
        if test.failed:
            _report(f"{package}: fails without a fault, judges nothing: {name}")
    return recording


def _judge(trial: Trial, mutation: Mutation, recording: Recording, wide: bool) -> Judgement:
    names = tests_of_line(recording, mutation) or tests_of_module(recording, mutation)
    judgement = confirmed(trial, mutation, {name: recording[name].seconds for name in names})
    if judgement.outcome is not Outcome.SURVIVED or not wide:
        return judgement
    others = [name for name in tests_of_module(recording, mutation) if name not in set(names)]
    if not others:
        return judgement
    return confirmed(trial, mutation, {name: recording[name].seconds for name in others})


def confirmed(trial: Trial, mutation: Mutation, tests: Mapping[str, float]) -> Judgement:
    """Return the judgement of tests that notice the fault twice, the second time alone.

    On a busy machine a test may fail at random. Such a test does not judge the fault.
    """
    remaining = dict(tests)
    while True:
        judgement = trial.judge(mutation, remaining)
        test = judgement.test
        if judgement.outcome is Outcome.SURVIVED or test not in remaining:
            return judgement
        again = trial.judge(mutation, {test: remaining[test]})
        if again.outcome is not Outcome.SURVIVED:
            return judgement
        _report(f"fails at random, does not judge {mutation}: {test}")
        del remaining[test]
        if not remaining:
            return Judgement(Outcome.SURVIVED, len(tests))


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
    parser.add_argument(
        "--wide", action="store_true", help="judge survivors by all tests that enter the module"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
        help="faults at a time (default: one per core)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=1800, metavar="S",
        help="for the tests of a package without a fault (default 1800 s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    return parser.parse_args(argv)


def _report(text: str) -> None:
    print(f"mutants: {text}", file=sys.stderr, flush=True)
