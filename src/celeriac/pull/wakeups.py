"""Wake waiting requests when the event log has something for them; and the upkeep of a worker.

One thread waits for all requests of the process, since each waiting read of Redis needs a
connection. It runs while clients work for any handler, and for SERVED_FOR after the last request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import redis

from celeriac.dispatcher.outage import log_outage, outage_pause
from celeriac.pull.pull_handlers import PullHandlers
from celeriac.service import Service
from celeriac.store.redis.wakeup import WAKEUP

logger = logging.getLogger(__name__)

# Seconds of one wait. A request that begins to wait for a further domain is served after this time.
WAIT = 0.25
# Seconds for which a domain is waited for after its last request, so that the next misses nothing.
LINGER = 30.0

Wake = Callable[[], None]


class Wakeups:
    """The waiting requests of one process. Thread-safe."""

    def __init__(
        self,
        service: Service,
        handlers: PullHandlers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service, self._handlers, self._clock = service, handlers, clock
        self._lock = threading.Lock()
        # Handler → its waiting requests, the longest waiting first.
        self._waiting: dict[str, list[Wake]] = {}
        self._wanted_until: dict[str, float] = {}
        self._seen: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    @contextmanager
    def waits(self, handler: str, wake: Wake) -> Iterator[None]:
        """Call `wake` from another thread when there may be a delivery of the handler.

        Of several requests for one handler, one is woken, the longest waiting. It must call
        `wake_next` if it leaves something.
        """
        with self._lock:
            self._waiting.setdefault(handler, []).append(wake)
        try:
            yield
        finally:
            with self._lock:
                wakes = self._waiting[handler]
                wakes.remove(wake)
                if not wakes:
                    del self._waiting[handler]

    def wake_next(self, handler: str) -> None:
        """Wake the longest waiting request of the handler."""
        with self._lock:
            wakes = self._waiting.get(handler)
            if wakes:
                wakes[0]()

    def wake_all(self) -> None:
        """Wake every waiting request."""
        with self._lock:
            for wakes in self._waiting.values():
                for wake in wakes:
                    wake()

    def follow(self, handler: str) -> None:
        """Wait for the domains of the handler, and keep this process known as its worker."""
        until = self._clock() + LINGER
        with self._lock:
            for domain in self._handlers.domains(handler):
                self._wanted_until[domain] = until
            if self._thread is None or not self._thread.is_alive():
                self._stopped.clear()
                self._thread = threading.Thread(target=self._run, name="celeriac-pull", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread and sign off. Blocks for about WAIT."""
        self._stopped.set()
        thread = self._thread
        if thread is not None:
            thread.join(10)
        try:
            self._handlers.close()
        except redis.RedisError as error:
            logger.warning("celeriac: the pull gateway could not sign off: %s", error)

    # -- the thread

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self.run_once()
                failures = 0
            except Exception as error:
                failures += 1
                log_outage(error, failures, self._service.settings.redis_url)
                self._stopped.wait(outage_pause(failures))
            with self._lock:
                is_idle = not (self._waiting or self._wanted_until)
                if is_idle and not any(c.served() for c in self._handlers.contexts):
                    self._thread = None
                    return

    def run_once(self, seconds: float = WAIT) -> None:
        """Wait once, wake requests, and run the maintenance that is due."""
        streams = self._streams()
        woken = self._wait(streams, seconds)
        if woken:
            self._wake(woken)
        for context in self._handlers.contexts:
            context.run_maintenance()

    def _streams(self) -> dict[str, str]:
        now = self._clock()
        with self._lock:
            waiting = [d for handler in self._waiting for d in self._handlers.domains(handler)]
            for domain in waiting:
                self._wanted_until[domain] = now + LINGER
            expired = [domain for domain, until in self._wanted_until.items() if until < now]
            for domain in expired:
                del self._wanted_until[domain]
            names = [n for d in self._wanted_until for n in (d, f"{WAKEUP} {d}")]
        self._seen = {name: self._seen.get(name, "0-0") for name in names}
        return self._seen

    def _wait(self, streams: dict[str, str], seconds: float) -> Collection[str]:
        """Return the domains with news."""
        if not streams:
            self._stopped.wait(seconds)
            return ()
        self._seen = dict(self._service.backend.event_log.wait(streams, seconds))
        changed = [name for name, entry in self._seen.items() if streams[name] != entry]
        return {name.rpartition(" ")[2] for name in changed}

    def _wake(self, domains: Collection[str]) -> None:
        with self._lock:
            for handler, wakes in self._waiting.items():
                if not set(domains).isdisjoint(self._handlers.domains(handler)):
                    wakes[0]()
