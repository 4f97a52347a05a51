"""Metrics on a port: one of those who want it has it, and the next one when that one ends."""

from __future__ import annotations

import logging
import sys
import time
from urllib.request import urlopen

import pytest

from celeriac.observability.metrics import server
from celeriac.observability.metrics.server import MetricsServer, metrics_server
from celeriac.settings import Settings
from celeriac.testing.memory import MemoryBus
from celeriac.testing.ports import free_port


def read(port: int, within: float = 10) -> str:
    """What it answers, as soon as it does."""
    deadline = time.monotonic() + within
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def test_it_answers_with_the_metrics_of_the_bus_alone(shop: MemoryBus) -> None:
    port = free_port()
    one = MetricsServer(shop.store.backend, "127.0.0.1", port)
    one.start()
    try:
        text = read(port)
    finally:
        one.stop()
    assert 'celeriac_processed_total{handler="billing.charge"' in text
    assert "python_gc" not in text


def test_a_server_takes_over_the_port_when_it_is_free(
    shop: MemoryBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "TRY_EVERY", 0.05)
    caplog.set_level(logging.INFO)
    port = free_port()
    first, second = (MetricsServer(shop.store.backend, "127.0.0.1", port) for _ in range(2))
    first.start()
    assert "celeriac_up 1.0" in read(port)
    second.start()
    deadline = time.monotonic() + 10
    while "port of metrics is in use" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    assert f"127.0.0.1:{port}. Usually another worker" in caplog.text
    first.stop()
    while caplog.text.count("metrics at http") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        assert "celeriac_up 1.0" in read(port)
    finally:
        second.stop()


def test_an_unusable_address_is_reported_with_its_settings(
    shop: MemoryBus, caplog: pytest.LogCaptureFixture
) -> None:
    one = MetricsServer(shop.store.backend, "192.0.2.1", 9)
    one.start()
    deadline = time.monotonic() + 10
    while "CELERIAC_METRICS_ADDRESS" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    one.stop()
    assert "cannot serve metrics at 192.0.2.1:9" in caplog.text
    assert "CELERIAC_METRICS_ADDRESS" in caplog.text


def test_without_a_port_there_is_no_server(shop: MemoryBus) -> None:
    assert metrics_server(Settings.load({}), shop.store.backend) is None


def test_without_the_package_the_worker_runs_and_names_the_package(
    shop: MemoryBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "celeriac.observability.metrics.scrape", None)
    settings = Settings.load({}, metrics_port=1)
    assert metrics_server(settings, shop.store.backend) is None
    assert "celeriac[prometheus]" in caplog.text
