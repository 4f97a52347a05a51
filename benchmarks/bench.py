"""The testbed: its servers, the length of samples, and the environment of candidates."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import redis

from benchmarks.measurement import Candidate
from benchmarks.noise import NoiseMonitor
from benchmarks.run_counter import VARIABLE, RunCounter
from celeriac.errors import ConfigurationError
from celeriac.security.generate import generate
from celeriac.testing.server import EmbeddedServer, start_server

ROOT = Path(__file__).resolve().parents[1]
DATABASES = 32


class Bench:
    """Leaving its `with` block stops the servers and removes their directory.

    `seconds` is the approximate length of a sample, `rounds` the number of samples of each
    candidate. `patience` is how long a measurement waits while other processes keep the machine
    busy.
    """

    def __init__(
        self,
        *,
        quick: bool,
        rounds: int | None = None,
        seconds: float | None = None,
        patience: float = 0.0,
    ) -> None:
        self.quick = quick
        self._rounds = rounds
        self.seconds = seconds or (0.25 if quick else 0.8)
        self.noise = NoiseMonitor(patience)
        self.server: EmbeddedServer
        self.durable_server: EmbeddedServer
        self._numbers = itertools.count()
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        with ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-bench-"))
            self.directory = Path(directory)
            # Without persistence, as research/performance.md was measured: it costs every
            # candidate the same per byte, and the disk of a shared machine is noise.
            extra = ("--databases", str(DATABASES))
            self.server = stack.enter_context(
                start_server(self.directory / "data", appendonly=False, extra=extra)
            )
            # A rewrite of the file would come into one sample and not into another.
            unchanging = (*extra, "--auto-aof-rewrite-percentage", "0")
            self.durable_server = stack.enter_context(
                start_server(self.directory / "durable", appendonly=True, extra=unchanging)
            )
            make_keys(self.directory / "keys")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def rounds(self, enough: int | None) -> int:
        """Return the number of rounds: as on the command line, else `enough`, else the default."""
        return self._rounds or enough or (3 if self.quick else 4)

    def flush(self) -> None:
        """Empty the servers, and restart those that are gone. Raises ServerFailed."""
        for server in (self.server, self.durable_server):
            with redis.Redis.from_url(server.url) as client:
                try:
                    client.flushall()
                except redis.ConnectionError:
                    server.restart()

    def server_of(self, candidate: Candidate) -> EmbeddedServer:
        return self.durable_server if candidate.durable else self.server

    def database(self, candidate: Candidate, number: int) -> str:
        """Return the URL of an empty database."""
        return f"{self.server_of(candidate).url.rpartition('/')[0]}/{number % DATABASES}"

    def path(self, name: str) -> Path:
        """Return an unused path in the directory."""
        return self.directory / f"{next(self._numbers)}-{name}"

    def run_counter(self) -> RunCounter:
        return RunCounter(self.path("runs"))

    def environment(self, url: str, run_counter: RunCounter) -> dict[str, str]:
        """Return the environment of a candidate, without settings of the caller's own bus."""
        bare = {k: v for k, v in os.environ.items() if not k.startswith("CELERIAC_")}
        return {
            **bare,
            "BENCH_URL": url,
            "BENCH_KEYS": str(self.directory / "keys"),
            VARIABLE: str(run_counter.path),
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), *bare.get("PYTHONPATH", "").split(os.pathsep)]
            ),
            "PYTHONUNBUFFERED": "1",
        }


def make_keys(directory: Path) -> None:
    """Write a signing key and a trusted key; none if cryptography is not installed."""
    directory.mkdir()
    with suppress(ConfigurationError):
        for name, key in zip(("secret", "public"), generate("bench"), strict=True):
            (directory / f"{name}.json").write_text(json.dumps(key))
