"""KEDA and the autoscaler of Kubernetes, played with real workers: their rules, in seconds."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn


@dataclass
class Keda:
    """A ScaledObject with the trigger `metrics-api`, `minReplicaCount: 0` and targetValue 1.

    `start` starts a worker like a pod, without waiting for it. A worker is stopped by SIGTERM, and
    must end within the grace period. More replicas start at once; fewer are left only when no
    answer within `stabilization` seconds asked for more.
    """

    url: str
    start: Callable[[], Any]
    max_replicas: int = 4
    stabilization: float = 1.0
    headers: dict[str, str] = field(default_factory=dict)
    running: list[Any] = field(default_factory=list)
    stopping: list[Any] = field(default_factory=list)
    history: list[int] = field(default_factory=lambda: [0])
    _answers: deque[tuple[float, int]] = field(default_factory=deque)

    def poll(self) -> int:
        """Ask once, act on the answer, and return the replicas that run or are stopping."""
        answer = httpx.get(self.url, headers=self.headers, timeout=40)
        answer.raise_for_status()
        now = time.monotonic()
        self._answers.append((now, min(answer.json()["workers"], self.max_replicas)))
        while now - self._answers[0][0] > self.stabilization:
            self._answers.popleft()
        desired = max(number for _, number in self._answers)
        while len(self.running) < desired:
            self.running.append(self.start())
        while len(self.running) > desired:
            self._stop(self.running.pop())
        if self.history[-1] != len(self.running):
            self.history.append(len(self.running))
        self.stopping = [worker for worker in self.stopping if self._is_stopping(worker)]
        return len(self.running) + len(self.stopping)

    def _stop(self, worker: Any) -> None:
        worker.process.terminate()
        self.stopping.append(worker)

    def _is_stopping(self, worker: Any) -> bool:
        code = worker.process.poll()
        assert code in (None, 0), f"a worker ended with {code}\n{worker.said()[-3000:]}"
        return code is None


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """Serve an ASGI application; yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 40
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "uvicorn did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
