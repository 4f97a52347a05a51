"""Off costs nothing: not an import, and not a branch on the way of an event."""

from __future__ import annotations

import subprocess
import sys

import pytest

from celeriac import ConfigurationError, EventBus
from celeriac.emitter import AsyncEmitter, Emitter
from celeriac.observability.tracing import tracing_of
from celeriac.settings import Settings


def loaded(script: str, package: str = "opentelemetry") -> str:
    shown = f"import sys; print(sorted(m for m in sys.modules if m.startswith({package!r})))"
    ran = subprocess.run(
        [sys.executable, "-c", f"{script}; {shown}"], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_off_imports_nothing_of_it() -> None:
    """redis-py imports a part of it by itself, where it is installed."""
    others = loaded("import redis, redis.asyncio, celery, kombu")
    assert others == loaded("from celeriac import EventBus; EventBus(service='billing').app")
    assert "'celeriac.observability.tracing'" in loaded(
        "import celeriac", "celeriac.observability.tracing"
    )
    assert "tracing.tracing" not in loaded("import celeriac", "celeriac.observability.tracing")


def test_off_the_emitters_are_the_plain_ones() -> None:
    bus = EventBus(service="billing")
    assert (Emitter, AsyncEmitter) == (type(bus.emitter), type(bus._async))


def test_tracing_without_the_package_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "celeriac.observability.tracing.tracing", None)
    with pytest.raises(ConfigurationError, match=r"celeriac\[otel\]"):
        tracing_of(Settings.load({}, tracing="on"))


def test_an_unknown_mode_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="off, on, linked"):
        Settings.load({"CELERIAC_TRACING": "yes"})
