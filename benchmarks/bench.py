"""The stage: a server of its own, how long all takes, and what is started on it."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import redis

from benchmarks.measurement import Contestant
from benchmarks.neighbours import Neighbours
from benchmarks.tally import VARIABLE, Tally
from celeriac.errors import ConfigurationError
from celeriac.security.generate import generate
from celeriac.testing.server import EmbeddedServer, start_server

ROOT = Path(__file__).resolve().parents[1]
DATABASES = 32


class Bench:
    """Leaving its `with` block ends the server and removes its directory.

    `seconds` is about how long one sample lasts, and `rounds` how many each contestant gives;
    `patience` is how long a measurement waits for a machine that others keep busy.
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
        self.neighbours = Neighbours(patience)
        self.server: EmbeddedServer
        self.durable_server: EmbeddedServer
        self._numbers = itertools.count()
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        with ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-bench-"))
            self.directory = Path(directory)
            # Without persistence, as research/performance.md was measured: it costs every
            # contestant the same per byte, and the disk of a shared machine is noise.
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
        """What was asked for; else what is `enough` for a measurement, where one says so."""
        return self._rounds or enough or (3 if self.quick else 4)

    def flush(self) -> None:
        """Empty servers, started again if they are gone. Raises ServerFailed."""
        for server in (self.server, self.durable_server):
            with redis.Redis.from_url(server.url) as client:
                try:
                    client.flushall()
                except redis.ConnectionError:
                    server.restart()

    def server_of(self, contestant: Contestant) -> EmbeddedServer:
        return self.durable_server if contestant.durable else self.server

    def database(self, contestant: Contestant, number: int) -> str:
        """The URL of an empty database."""
        return f"{self.server_of(contestant).url.rpartition('/')[0]}/{number % DATABASES}"

    def path(self, name: str) -> Path:
        """A path in the directory that nothing else has."""
        return self.directory / f"{next(self._numbers)}-{name}"

    def tally(self) -> Tally:
        return Tally(self.path("tally"))

    def environment(self, url: str, tally: Tally) -> dict[str, str]:
        """What tells a peer where to work; nothing of the caller's own bus."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("CELERIAC_")}
        return {
            **own,
            "BENCH_URL": url,
            "BENCH_KEYS": str(self.directory / "keys"),
            VARIABLE: str(tally.path),
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), *own.get("PYTHONPATH", "").split(os.pathsep)]
            ),
            "PYTHONUNBUFFERED": "1",
        }


def make_keys(directory: Path) -> None:
    """A key to sign with and one to trust, for this run; none where cryptography is missing."""
    directory.mkdir()
    with suppress(ConfigurationError):
        for name, key in zip(("secret", "public"), generate("bench"), strict=True):
            (directory / f"{name}.json").write_text(json.dumps(key))
