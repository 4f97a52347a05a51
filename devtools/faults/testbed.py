"""A system under load that faults are injected into: a server, workers, a publisher, the store."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from celeriac.store.redis.connection import Client, open_client
from celeriac.testing.process_guard import guarded_popen
from celeriac.testing.server import EmbeddedServer, start_server
from devtools.faults.fault_window import FaultWindow, recovery_time
from devtools.faults.flow import DEPTH, EventStream, new_ids
from devtools.faults.inboxed import SQLITE, InboxedEffects, new_url
from devtools.faults.proxy import Proxy
from devtools.faults.rabbit_queue import RabbitQueue
from devtools.faults.row import Counts, count
from devtools.faults.store import Delivery, Store
from devtools.faults.system import CeleriacSystem, CelerySystem, System, handlers_of
from devtools.faults.worker import KEEP_ORPHANS, Worker
from devtools.fork_server import fork_server
from devtools.rabbitmq import EmbeddedRabbit

ANY = "*"
# Workers import devtools, which is not installed.
ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
MAX_RECOVERY = 20.0  # seconds; a longer recovery misses the goal


class Skipped(Exception):
    """This fault cannot be injected here. The message has the reason."""


class MissedGoal(Exception):
    """A goal of this fault alone was missed. The message has the goal."""


class Testbed:
    """One of the two systems, with its servers and workers. Close it to end them."""

    def __init__(
        self,
        kind: type[CeleriacSystem] | type[CelerySystem],
        directory: Path,
        *,
        domains: Sequence[str],
        lease: float,
        visibility: float,
        times: int,
        server: Sequence[str] = (),
        rabbit: EmbeddedRabbit | None = None,
        database: str = SQLITE,
    ) -> None:
        self.stack = ExitStack()
        self.directory = directory
        self.times = times
        self.lease = lease
        self.visibility = visibility
        self.injected = 0
        self.restarted = 0
        self.notes: list[str] = []
        self.workers: list[Worker] = []
        self.expected: set[Delivery] = set()
        self.failing: set[Delivery] = set()
        self.invalid: set[str] = set()
        self.windows: list[FaultWindow] = []
        self._restored: list[float] = []
        self._accepted: dict[Delivery, float] = {}
        self.stack.callback(self._end_workers)
        self.server: EmbeddedServer = start_server(directory / "data", extra=tuple(server))
        self.stack.push(self.server)
        self.store = Store(directory / "store.sqlite")
        self.store.create()
        self.stack.callback(self.store.close)
        self.inboxed: InboxedEffects | None = None
        if kind is CeleriacSystem:
            self.inboxed = self._make_inboxed(database)
        self._rabbit, self.broker_url = rabbit, rabbit.url if rabbit else ""
        if rabbit:
            rabbit.start()
            RabbitQueue(rabbit.url).delete()
        self._kind, self._domains = kind, tuple(domains)
        self.system: System = self._system(self.server.url, self.server.url)
        self.stack.callback(self.system.close)
        # What new workers connect to.
        self.url = self.server.url
        self.effects_url = ""  # instead of that of `inboxed`

    def _make_inboxed(self, database: str) -> InboxedEffects:
        made = InboxedEffects(new_url(database, self.directory))
        self.stack.callback(made.drop)
        try:
            made.create()
        except OperationalError as error:
            raise Skipped(f"no {database} on 127.0.0.1 ({error})") from error
        return made

    @property
    def ours(self) -> bool:
        return isinstance(self.system, CeleriacSystem)

    @property
    def rabbit(self) -> EmbeddedRabbit:
        """Celery's broker, where that is not Redis."""
        assert self._rabbit is not None
        return self._rabbit

    def _system(self, url: str, server: str) -> System:
        return self._kind(url, server, self.lease, self.broker_url)

    @property
    def redis(self) -> Client:
        """A client that injects faults, with a new connection pool each time."""
        return open_client(self.server.url, answer_within=20)

    def close(self) -> None:
        self.stack.close()

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.end()

    # -- what runs

    def link(self, *, publisher: bool = False) -> Proxy:
        """A proxy between the workers and the server, and the publisher too if asked for."""
        proxy = self.stack.enter_context(Proxy(self.server.port))
        if publisher:
            self.connect_to(proxy.url)
        else:
            self.url = proxy.url
        return proxy

    def connect_to(self, url: str) -> None:
        """Workers and the publisher reach the server by this URL."""
        self.url = url
        self.system = self._system(url, self.server.url)

    def broker_link(self) -> Proxy:
        """A proxy between the workers and RabbitMQ."""
        proxy = self.stack.enter_context(Proxy(self.rabbit.port))
        self.broker_url = f"amqp://guest:guest@127.0.0.1:{proxy.port}//"
        return proxy

    def follow(self, server: str) -> None:
        """After a failover: another server has the data now."""
        self.system = self._system(self.url, server)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "CELERIAC_REDIS_URL": self.url,
            "CELERIAC_BROKER_URL": self.broker_url,
            "CELERIAC_LEASE": str(self.lease),
            "FAULTS_EFFECTS": self.effects_url or (self.inboxed.url if self.inboxed else ""),
            "FAULTS_STORE": str(self.directory / "store.sqlite"),
            "FAULTS_VISIBILITY": str(self.visibility),
            "FAULTS_DOMAINS": ",".join(self._domains),
            "PYTHONPATH": PYTHONPATH,
            "PYTHONUNBUFFERED": "1",
            **more,
        }

    def worker(
        self,
        *options: str,
        processes: int = 2,
        orphans: bool = False,
        wait: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Worker:
        """Starts a worker. `orphans`: its pool processes may outlive a kill of their main one."""
        name = f"w{len(self.workers)}"
        command = [sys.executable, "-m", "celery", "-A", self.system.app, "worker"]
        command += ["-c", str(processes), "-n", f"{name}@%h", "--loglevel", "info"]
        command += ["--without-mingle", "--without-gossip", *options]
        return self._start(name, command, orphans, wait, env or {})

    def dispatcher(self, **env: str) -> Worker:
        """Start `celeriac dispatcher`, which sends delivery tasks and runs none."""
        name = f"w{len(self.workers)}"
        program = "from celeriac.cli import main; main()"
        command = [sys.executable, "-c", program, "dispatcher", "-A", self.system.app]
        return self._start(name, command, False, True, env)

    def relay(self, url: str) -> Worker:
        """Start `celeriac relay` on a database. Returns when it runs."""
        program = "from celeriac.cli import main; main()"
        name, command = f"w{len(self.workers)}", [sys.executable, "-c", program, "relay"]
        relay = self._start(name, command, False, False, {"CELERIAC_OUTBOX_URL": url})
        self.until(lambda: "relaying the outbox" in relay.output(), "a relay", 40)
        return relay

    def _start(
        self, name: str, command: list[str], orphans: bool, wait: bool, env: Mapping[str, str]
    ) -> Worker:
        log_path, pid_file, start = self.directory / f"{name}.log", None, fork_server().popen
        if orphans:
            start = guarded_popen
            pid_file = self.directory / f"{name}.pid"
            command = ["/bin/sh", "-c", KEEP_ORPHANS, str(pid_file), *command]
        with log_path.open("wb") as out:
            process = start(
                command, env=self.environment(**env), cwd=self.directory, stdout=out, stderr=out
            )
        worker = Worker(process, log_path, pid_file)
        self.workers.append(worker)
        if wait:
            self.until_ready(worker)
        return worker

    def until_ready(self, worker: Worker) -> None:
        def ready() -> bool:
            if not worker.alive:
                raise RuntimeError(f"a worker did not start: {worker.output()[-2000:]}")
            return worker.started and self.system.ready(worker.main, worker.output())

        self.until(ready, "a worker to be ready", 40)

    # -- what is published

    def publish(
        self, type: str, count: int = 1, *, fails: bool = False, data: Any = None
    ) -> list[str]:
        """Publishes new events; `fails` where their handlers fail by design. Returns the ids."""
        ids = new_ids(count)
        self.system.publish(type, ids, data)
        self.accepted(type, ids, fails=fails)
        return ids

    def accepted(self, type: str, ids: Sequence[str], *, fails: bool = False) -> int:
        """Notes events as accepted; returns how many deliveries that makes."""
        deliveries = {(handler, id) for handler in handlers_of(type) for id in ids}
        if fails:
            self.expected |= deliveries
            self.failing |= deliveries
        else:
            self.accepted_deliveries(deliveries)
        return len(deliveries)

    def accepted_deliveries(self, deliveries: Collection[Delivery]) -> None:
        """Note deliveries as accepted now, to be measured when a fault ends."""
        self.expected |= set(deliveries)
        self._accepted.update(dict.fromkeys(deliveries, time.monotonic()))

    def accepted_invalid(self, entry: str) -> None:
        """Record an entry that is no event: the handler that reads it makes it a dead letter."""
        self.invalid.add(entry)
        self.expected.add((ANY, entry))
        self.failing.add((ANY, entry))

    def stream(self, type: str = "work.flow", *, depth: int = DEPTH) -> EventStream:
        """A stream of events that keeps the workers busy while a fault is injected."""

        def publish(ids: Sequence[str]) -> int:
            self.system.publish(type, ids)
            return self.accepted(type, ids)

        return EventStream(publish, self.store.began_count, depth, loses=not self.ours)

    def busy(self, executions: int = 60) -> None:
        """Waits until so many more executions have begun."""
        wanted = self.store.began_count() + executions

        def begun() -> bool:
            self.supervise()
            return self.store.began_count() >= wanted

        self.until(begun, "work under way", 20, fatal=False)

    # -- what the fault did

    @contextmanager
    def fault_window(self, *workers: Worker) -> Iterator[None]:
        """Kills, freezes or cuts off the workers within the block, or all if none is named: what
        they are running may run again."""
        pids = frozenset(pid for worker in workers for pid in worker.pids())
        began = time.monotonic()
        yield
        self.windows.append(FaultWindow(pids, began, time.monotonic()))
        self.injected += 1

    def kill_child(self, worker: Worker) -> int:
        """Kill a pool process of the worker; return how many were killed."""
        began = time.monotonic()
        killed = worker.kill_child()
        self.windows.append(FaultWindow(frozenset(killed), began, time.monotonic()))
        return len(killed)

    def restored(self, *, wait: bool = True) -> None:
        """Report that the fault is over: deliveries that were accepted must recover from now on.

        Waits until they have, or for MAX_RECOVERY, so that the next fault does not prolong it.
        """
        self._restored.append(time.monotonic())
        if wait:
            self.wait_for_recovery()

    def wait_for_recovery(self) -> None:
        """Waits until what was accepted has its effect, or for MAX_RECOVERY."""
        if not self.ours:
            return
        accepted = frozenset(self._accepted)
        self.until(
            lambda: accepted <= self.effects().keys(),
            "what was accepted",
            MAX_RECOVERY,
            fatal=False,
            pause=0.1,
        )

    # -- the end

    def effects(self) -> Counter[Delivery]:
        """How often each delivery had its effect, guarded or inboxed."""
        guarded = self.store.effects()
        return guarded + self.inboxed.effects() if self.inboxed else guarded

    def effect_count(self) -> int:
        """How many effects there are, doubled ones too. Cheap."""
        return self.store.effect_count() + (self.inboxed.count() if self.inboxed else 0)

    def worst_wait(self, ids: Collection[str], *, within: float) -> float:
        """The longest that any of these events waited for its effect by any handler, in seconds.

        Waits for them; what has no effect `within` the time waited for ever."""
        wanted = {delivery for delivery in self._accepted if delivery[1] in ids}
        self.until(
            lambda: wanted <= self.effects().keys(), "effects", within, fatal=False, pause=0.1
        )
        times = self._effect_times()
        return max((times.get(key, math.inf) - self._accepted[key] for key in wanted), default=0.0)

    def _effect_times(self) -> dict[Delivery, float]:
        return self.store.effect_times() | (self.inboxed.times() if self.inboxed else {})

    def recovery_time(self) -> float:
        """The longest that what was accepted took after a moment at which all was whole."""
        return recovery_time(self._accepted, self._effect_times(), self._restored)

    def count(self) -> Counts:
        # Next to the store, to show why a repetition is unexplained.
        (self.directory / "windows.txt").write_text("\n".join(map(repr, self.windows)))
        dead = {(ANY if id in self.invalid else handler, id) for handler, id in self.system.dead()}
        return count(
            self.expected,
            self.failing,
            dead,
            self.system.remaining(),
            self.store.runs(),
            self.effects(),
            self.windows,
        )

    def late(self) -> int:
        """How many deliveries have no effect yet, while the system still holds them."""
        return len((self.expected & self.system.remaining()) - self.effects().keys())

    def until(
        self,
        holds: Callable[[], bool],
        what: str,
        seconds: float,
        *,
        fatal: bool = True,
        pause: float = 0.03,
    ) -> bool:
        """Polls; where it does not hold in time, raises or, if that is not fatal, is False."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                if fatal:
                    raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
                return False
            time.sleep(pause)
        return True

    def supervise(self) -> None:
        """Starts a worker for each that ended by itself, as any service manager would."""
        for worker in self.workers:
            if not worker.alive and not worker.given_up:
                worker.given_up = True
                self.restarted += 1
                now = time.monotonic()
                self.windows.append(FaultWindow(frozenset(worker.pids()), now, now))
                # Not waited for: what ended the first may end this one too before it is ready.
                self.worker(wait=False)
