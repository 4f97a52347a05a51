"""Plugin of pytest: records which tests execute which lines of a package, and how long they take.

Only lines of functions count. A module's own lines run once per process, for whichever test comes
first.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

FOLDER, OUTPUT = "CELERIAC_MUTANTS_RECORD_FOLDER", "CELERIAC_MUTANTS_RECORD_FILE"


@dataclass(slots=True)
class RecordedTest:
    """`lines` contains the executed lines by file, `failed` whether it failed."""

    seconds: float = 0.0
    failed: bool = False
    lines: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


Recording = dict[str, RecordedTest]


class Recorder:
    """Traces the functions below `folder`, in all threads. `test` is the one that is running."""

    def __init__(self, folder: str) -> None:
        self.test = RecordedTest()
        self._folder = folder
        self._recorded: dict[CodeType, bool] = {}

    def start(self) -> None:
        threading.settrace(self._trace_call)
        sys.settrace(self._trace_call)

    def stop(self) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _trace_call(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        recorded = self._recorded.get(code)
        if recorded is None:
            in_function = bool(code.co_flags & inspect.CO_OPTIMIZED)
            recorded = in_function and code.co_filename.startswith(self._folder)
            self._recorded[code] = recorded
        return self._trace_line if recorded else None

    def _trace_line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.test.lines[frame.f_code.co_filename].add(frame.f_lineno)
        return self._trace_line


class RecordingPlugin:
    """Writes the recording at the end of the session."""

    def __init__(self, folder: str, output: Path) -> None:
        self._recorder = Recorder(folder)
        self._output = output
        self._recording: Recording = defaultdict(RecordedTest)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._recorder.test = self._recording[item.nodeid]
        self._recorder.start()
        try:
            return (yield)
        finally:
            self._recorder.stop()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self._recording[report.nodeid]
        test.seconds += report.duration
        test.failed |= report.failed

    def pytest_sessionfinish(self) -> None:
        tests = {
            name: {
                "seconds": test.seconds,
                "failed": test.failed,
                "lines": {path: sorted(lines) for path, lines in test.lines.items()},
            }
            for name, test in self._recording.items()
        }
        self._output.write_text(json.dumps(tests))


def read_recording(file: Path, root: Path) -> Recording:
    """Return what the plugin wrote, with paths relative to `root`."""
    return {
        name: RecordedTest(
            test["seconds"],
            test["failed"],
            {
                str(Path(path).relative_to(root)): set(numbers)
                for path, numbers in test["lines"].items()
            },
        )
        for name, test in json.loads(file.read_text()).items()
    }


def pytest_configure(config: pytest.Config) -> None:
    """Record if the environment names the folder and the file."""
    if FOLDER in os.environ:
        plugin = RecordingPlugin(os.environ[FOLDER], Path(os.environ[OUTPUT]))
        config.pluginmanager.register(plugin)
