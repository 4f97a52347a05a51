"""A producer in its own process, `produce`, which receives its commands over a socket."""

from __future__ import annotations

import json
import socket
import sys
from types import TracebackType
from typing import Any

from benchmarks.bench import ROOT, Bench
from benchmarks.measurement import Candidate
from benchmarks.run_counter import RunCounter
from celeriac.testing.process_guard import GuardedProcess, guarded_popen

LONGEST = 120.0  # seconds that one call may take


class RemoteError(RuntimeError):
    """An error in the producer's process."""


class Remote:
    """One producer of a candidate. It is idle, and costs nothing, between calls."""

    def __init__(
        self, bench: Bench, candidate: Candidate, url: str, run_counter: RunCounter
    ) -> None:
        path, log_path = bench.path("socket"), bench.path(f"{candidate.peer}-producer.log")
        with socket.socket(socket.AF_UNIX) as listener, log_path.open("wb") as out:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(30)
            environment = {**bench.environment(url, run_counter), **candidate.options}
            self._process: GuardedProcess = guarded_popen(
                [sys.executable, "-m", "benchmarks.produce", candidate.peer, str(path)],
                env={**environment, "BENCH_SERVICE": "shop"},
                cwd=ROOT,
                stdout=out,
                stderr=out,
                grace=2,
            )
            try:
                self._socket, _ = listener.accept()
            except TimeoutError:
                self._process.kill_group()
                raise RemoteError(f"no producer: {log_path.read_text()[-300:]}") from None
        self._socket.settimeout(LONGEST)
        self._file = self._socket.makefile("rw")
        try:
            self._answer()
        except RemoteError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, name: str, *arguments: float) -> tuple[float, Any]:
        """Call a function in the producer. Return its duration in seconds, and its result."""
        self._file.write(json.dumps([name, arguments]) + "\n")
        self._file.flush()
        return self._answer()

    def _answer(self) -> tuple[float, Any]:
        line = self._file.readline()
        if not line:
            raise RemoteError("the producer is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteError(answer["error"])
        return float(answer["seconds"]), answer["answer"]

    def close(self) -> None:
        self._file.close()
        self._socket.close()
        self._process.stop()

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
