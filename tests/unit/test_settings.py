"""Settings: arguments, then the environment, then defaults; all faults are listed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from celeriac import settings as module
from celeriac.errors import ConfigurationError
from celeriac.settings import Settings
from tests.logged import messages_of


def test_without_anything_there_are_defaults() -> None:
    settings = Settings.load({})
    assert "redis://127.0.0.1:6379/0" == settings.redis_url
    assert "celeriac" == settings.namespace
    assert settings.source


def test_what_is_given_comes_before_the_environment_and_that_before_the_default() -> None:
    environ = {"CELERIAC_LEASE": "20", "CELERIAC_MAX_CHUNK": "7", "CELERIAC_SERVICE": ""}
    settings = Settings.load(environ, lease=10, service="billing")
    assert (10.0, 7, 2) == (settings.lease, settings.max_chunk, settings.prefetch)
    assert "billing" == settings.service


def test_the_process_s_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERIAC_NAMESPACE", "shop")
    assert "shop" == Settings.load().namespace


def test_none_means_not_given() -> None:
    assert 20.0 == Settings.load({"CELERIAC_LEASE": "20"}, lease=None).lease


def test_the_service_is_the_source_unless_another_is_given() -> None:
    assert "billing" == Settings.load({}, service="billing").source
    assert "https://shop" == Settings.load({}, service="billing", source="https://shop").source


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://h:6379/3", "redis://h:6379/3"),
        ("rediss://h/0", "rediss://h/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
    ],
)
def test_the_broker_is_the_same_redis_unless_another_is_given(
    redis_url: str, broker_url: str
) -> None:
    assert broker_url == Settings.load({}, redis_url=redis_url).broker_url
    given = Settings.load({}, redis_url=redis_url, broker_url="amqp://h")
    assert "amqp://h" == given.broker_url


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"redis_url": "amqp://h"},
            "CELERIAC_REDIS_URL begins with 'amqp': must begin with redis://",
        ),
        ({"service": "bill.ing"}, "CELERIAC_SERVICE='bill.ing': may have letters, digits"),
        ({"namespace": "a b"}, "CELERIAC_NAMESPACE='a b'"),
        ({"namespace": ""}, "CELERIAC_NAMESPACE=''"),
        ({"lease": 0.4}, r"CELERIAC_LEASE=0\.4: must be .*at least 0\.5"),
        ({"lease": "soon"}, "CELERIAC_LEASE='soon': must be a number"),
        ({"max_chunk": "1.5"}, "CELERIAC_MAX_CHUNK='1.5': must be a whole number"),
        ({"retention": float("nan")}, "CELERIAC_RETENTION=nan"),
        ({"retention": "inf"}, "CELERIAC_RETENTION=inf: must be finite"),
        ({"retention_count": -1}, "CELERIAC_RETENTION_COUNT=-1"),
        ({"leese": 1}, "leese: no such setting. Did you mean lease. The settings are .*lease"),
    ],
)
def test_a_fault_names_the_setting_and_the_remedy(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Settings.load({}, **given)


def test_every_fault_is_listed() -> None:
    with pytest.raises(ConfigurationError) as told:
        Settings.load({"CELERIAC_LEASE": "0"}, redis_url="http://h", prefetch=0)
    lines = str(told.value).splitlines()
    assert "celeriac cannot start. Correct these settings:" == lines[0]
    assert 3 == len(lines[1:])


def test_settings_do_not_change() -> None:
    settings = Settings.load({})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.lease = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CELERIAC_LEESE", "CELERIAC_LEASE"),
        ("CELERIAC_REDIS_URI", "CELERIAC_REDIS_URL"),
        ("CELERIAC_OUTBOX", "CELERIAC_OUTBOX_URL"),
    ],
)
def test_a_misspelt_variable_is_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setattr("celeriac.settings._ignored", set())
    for _ in range(2):
        Settings.load({variable: "x"})
    assert [
        f"celeriac: {variable} is ignored: there is no such setting. Did you mean {meant}?"
    ] == messages_of(caplog, module)


@pytest.mark.parametrize(
    "variable",
    [
        "CELERIAC_ALERT_URLS", "CELERIAC_FLOWER_OPEN", "CELERIAC_FLOWER_EDITORS",
        "CELERIAC_REDIS_SERVER", "CELERIAC_FUZZ_EXAMPLES", "CELERIAC_SERVICE_HOST",
        "CELERIAC_METRICS_SERVICE_PORT", "CELERIAC_METRICS_PORT_9808_TCP", "RETENTIN",
    ],
)  # fmt: skip
def test_other_variables_are_no_misspelt_settings(
    caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    Settings.load({variable: "x"})
    assert [] == messages_of(caplog, module)


def test_variables_that_kubernetes_sets_for_a_service_are_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Kubernetes sets these in each pod for a Service called `celeriac-metrics`."""
    environ = {
        "CELERIAC_METRICS_PORT": "tcp://10.96.11.7:9808",
        "CELERIAC_METRICS_SERVICE_HOST": "10.96.11.7",
        "CELERIAC_METRICS_SERVICE_PORT": "9808",
        "CELERIAC_METRICS_PORT_9808_TCP": "tcp://10.96.11.7:9808",
    }
    with caplog.at_level("INFO", logger="celeriac.settings"):
        assert Settings.load(environ).metrics_port == 0
        assert Settings.load(environ).metrics_port == 0
    said = [one for one in caplog.messages if "CELERIAC_METRICS_PORT=tcp:" in one]
    assert len(said) <= 1  # once for each process
    with pytest.raises(ConfigurationError, match="METRICS_PORT='tcp://x': must be a whole"):
        Settings.load({}, metrics_port="tcp://x")
