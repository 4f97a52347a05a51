"""A copy of the tree in which faults are put, and the tests that judge them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from devtools.mutants.mutation import Mutation

ROOT = Path(__file__).resolve().parents[2]
# Package → the tests that are meant for it.
TESTS: dict[str, tuple[str, ...]] = {
    "delivery": ("tests/unit/delivery", "tests/contract"),
    "event_log": ("tests/unit/event_log", "tests/contract"),
    "store": ("tests/unit/store", "tests/contract"),
    "dispatcher": ("tests/unit/dispatcher",),
    "executor": ("tests/unit/executor", "tests/unit/testing", "tests/unit/worker"),
    "outbox": ("tests/unit/outbox",),
    "inbox": ("tests/unit/inbox",),
    "security": ("tests/unit/security", "tests/unit/event"),
}
WIDE = ("tests/unit", "tests/contract")


class Outcome(StrEnum):
    NOTICED = "noticed"
    HUNG = "hung"  # noticed: the tests did not end
    SURVIVED = "survived"


class Trial:
    """A copy of the checkout's files. Leaving the `with` block removes it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._folder = tempfile.TemporaryDirectory(prefix="celeriac-mutants-")
        self.root = Path(self._folder.name)

    def passes(self, tests: tuple[str, ...]) -> bool:
        """Whether the tests pass on the code as it is. Blocks for minutes."""
        return self._run(tests) is Outcome.SURVIVED

    def judge(self, mutation: Mutation, tests: tuple[str, ...]) -> Outcome:
        """Put the fault in, run the tests until one fails, and take it out. Blocks for minutes."""
        file = self.root / mutation.path
        original = file.read_bytes()
        file.write_bytes(mutation.source.encode())
        try:
            # Most faults are noticed by the tests of their own module, in a fraction of the time.
            module_tests = own_tests(self.root, mutation.path)
            outcome = self._run(module_tests) if module_tests else Outcome.SURVIVED
            return self._run(tests) if outcome is Outcome.SURVIVED else outcome
        finally:
            file.write_bytes(original)

    def _run(self, tests: tuple[str, ...]) -> Outcome:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
        ]
        environment = {
            **os.environ, "PYTHONPATH": str(self.root / "src"), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        try:
            done = subprocess.run(
                [*command, *tests],
                cwd=self.root,
                env=environment,
                capture_output=True,
                timeout=self.seconds,
            )
        except subprocess.TimeoutExpired:
            return Outcome.HUNG
        return Outcome.SURVIVED if done.returncode == 0 else Outcome.NOTICED

    def __enter__(self) -> Trial:
        listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
        for name in filter(None, listed.split("\0")):
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy2(ROOT / name, target)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._folder.cleanup()


def own_tests(root: Path, path: str) -> tuple[str, ...]:
    """Return the test files that are named after a module of src/celeriac; none if there are none.

    Those of `executor/work.py` are tests/unit/executor/test_work.py, test_work_*.py.
    """
    module = Path(path).relative_to("src/celeriac")
    folder = root / "tests" / "unit" / module.parent
    names = {*folder.glob(f"test_{module.stem}.py"), *folder.glob(f"test_{module.stem}_*.py")}
    return tuple(sorted(str(name.relative_to(root)) for name in names))
