"""A copy of the tree in which faults are put, and the tests that judge them."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from devtools.mutants import recording, selection
from devtools.mutants.mutation import Mutation
from devtools.mutants.recording import Recording, read_recording

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = 2000  # characters of what failing tests print
# Tests are slower when the machine has more load than while recording: a test hangs if it takes
# this many times as long, and these seconds. pytest-timeout ends it, and Trial if that fails.
HUNG_AFTER, HUNG_SECONDS, START_SECONDS = 5, 30, 120
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+.*)$", re.M)


class RecordingFails(Exception):
    """No test could run without a fault. The message is the end of the output."""


class Outcome(StrEnum):
    NOTICED = "noticed"
    HUNG = "hung"  # noticed: the tests did not end
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What `tests` tests made of a fault. `reason` is the line of the `test` that noticed it."""

    outcome: Outcome
    tests: int
    reason: str = ""

    @property
    def test(self) -> str:
        return self.reason.partition(" - ")[0]


class Trial:
    """A copy of a checkout's files. Leaving the `with` block removes it."""

    def __init__(self, checkout: Path = ROOT) -> None:
        self._checkout = checkout
        self._folder = tempfile.TemporaryDirectory(prefix="celeriac-mutants-")
        self.root = Path(self._folder.name).resolve() / "checkout"
        self._times = itertools.count(1_000_000_000)

    def record(self, package: str, tests: Sequence[str], seconds: float) -> Recording:
        """Run the tests without a fault. Blocks for minutes. Raises RecordingFails."""
        output = self.root.parent / f"{package}.json"
        environment = {
            recording.FOLDER: str(self.root / "src" / "celeriac" / package) + os.sep,
            recording.OUTPUT: str(output),
        }
        status, text = self._pytest("recording", tests, environment, seconds)
        if status is None or not output.exists():
            raise RecordingFails(f"{'hung' if status is None else 'failed'}: {text[-OUTPUT:]}")
        return read_recording(output, self.root)

    def judge(self, mutation: Mutation, tests: Mapping[str, float]) -> Judgement:
        """Put the fault in, run the tests until one fails, and take it out. Blocks for minutes.

        `tests` has the seconds that each test takes without the fault.
        """
        file = self.root / mutation.path
        original, before = file.read_bytes(), file.stat()
        selected = self.root.parent / "selected.json"
        selected.write_text(
            json.dumps({name: HUNG_AFTER * took + HUNG_SECONDS for name, took in tests.items()})
        )
        file.write_bytes(mutation.source.encode())
        # Bytecode counts as current if time and size are those of the source.
        moment = next(self._times)
        os.utime(file, (moment, moment))
        try:
            files = sorted({test.partition("::")[0] for test in tests})
            status, text = self._pytest(
                "selection",
                ["-x", *files],
                {selection.SELECTED: str(selected)},
                HUNG_AFTER * sum(tests.values()) + HUNG_SECONDS + START_SECONDS,
            )
        finally:
            file.write_bytes(original)
            os.utime(file, (before.st_atime, before.st_mtime))
        return judgement(status, text, len(tests))

    def _pytest(
        self, plugin: str, arguments: Sequence[str], environment: dict[str, str], seconds: float
    ) -> tuple[int | None, str]:
        """Return the exit status, None after `seconds`, and the output."""
        command = [
            sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short",
            "-p", "no:cacheprovider", "-p", f"devtools.mutants.{plugin}", *arguments,
        ]  # fmt: skip
        bytecode = self.root.parent / "bytecode"
        environment = {
            **os.environ, "PYTHONPATH": str(self.root / "src"),
            "PYTHONPYCACHEPREFIX": str(bytecode), **environment,
        }  # fmt: skip
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                return None, (error.stdout or b"").decode(errors="replace")
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return process.returncode, output.decode(errors="replace")

    def __enter__(self) -> Trial:
        listed = subprocess.check_output(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self._checkout,
            text=True,
        )
        for name in filter(None, listed.split("\0")):
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (self._checkout / name).is_file():
                shutil.copy2(self._checkout / name, target)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._folder.cleanup()


def judgement(status: int | None, output: str, tests: int) -> Judgement:
    """Return the judgement that pytest's exit status and output make."""
    if status == 0:
        return Judgement(Outcome.SURVIVED, tests)
    if status is None or "Failed: Timeout" in output or "+ Timeout +" in output:
        outcome = Outcome.HUNG
    elif status == 5:
        raise RecordingFails(f"pytest collected none of {tests} recorded tests\n{output[-OUTPUT:]}")
    else:
        outcome = Outcome.NOTICED
    failed = _FAILED.search(output)
    return Judgement(outcome, tests, failed[1] if failed else output.strip()[-OUTPUT:])
