"""The metrics that a worker serves."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest

from celeriac import EventBus
from celeriac.settings import Settings
from celeriac.testing.ports import free_port

# Parts of celeriac that a worker has only with the setting.
OPTIONAL = {
    "metrics_port": "celeriac.observability.metrics.server",
    "outbox_url": "celeriac.outbox.relay",
}
SHOW = """
import sys
from celeriac import EventBus
bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", **{settings!r})
bus.on("order.placed", name="charge")(lambda event: None)
bus.app.finalize()
print(*sorted(name for name in sys.modules if name.startswith("celeriac.")))
"""


@pytest.mark.parametrize(
    "settings", [{}, {"metrics_port": 1}, {"outbox_url": "sqlite://"}], ids=["none", *OPTIONAL]
)
def test_a_worker_imports_what_it_is_set_up_for(settings: dict[str, Any]) -> None:
    """The rest would be memory of each of its processes."""
    script = SHOW.replace("{settings!r}", repr(settings))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(ran.stdout.split())
    assert {OPTIONAL[name] for name in settings} == imported & {*OPTIONAL.values()}


def test_the_server_runs_from_start_to_stop(settings: Settings) -> None:
    from celeriac.worker.metrics import MetricsStep

    port = free_port()
    bus = EventBus(
        service="billing",
        redis_url=settings.redis_url,
        namespace=settings.namespace,
        metrics_port=port,
        metrics_address="127.0.0.1",
    )
    step = type("Step", (MetricsStep,), {"service": bus.service})(SimpleNamespace())
    step.start(None)
    try:
        assert b"celeriac_up 1.0" in read(port)
    finally:
        step.stop(None)
    step.terminate(None)
    deadline = time.monotonic() + 20
    while is_open(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_open(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def read(port: int) -> bytes:
    deadline = time.monotonic() + 20
    while not is_open(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return bytes(answer.read())
