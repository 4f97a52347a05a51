"""Each command, variable, probe and URL of the chart exists in the code."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
import pytest
import yaml
from celery.bin.celery import celery
from flower.options import default_options  # noqa: F401
from tornado.options import options as flower_options

from celeriac import EventBus
from celeriac.cli.root import main
from celeriac.gateway import gateway
from celeriac.gateway.config import read_config
from celeriac.scale.question import parse_question
from celeriac.settings import Settings
from tests.unit.deploy.manifests import (
    ROOT,
    Manifest,
    container,
    environment,
    has_pods,
    load,
    name_of,
    parameters,
    renderings,
)

workloads = pytest.mark.parametrize("manifest", parameters("Deployment", "StatefulSet"))
COMMANDS = {"celery": celery, "celeriac": main}


def parse(group: click.Group, words: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of the subcommand and its options. Raises click.UsageError."""
    with click.Context(group) as ctx:
        options, rest, _ = group.make_parser(ctx).parse_args(words)
        name, *rest = rest
        command = group.get_command(ctx, name)
        assert command is not None, name
    with click.Context(command) as ctx:
        return name, {**options, **command.make_parser(ctx).parse_args(rest)[0]}


@workloads
def test_the_command_and_its_options_exist(manifest: Manifest) -> None:
    program, *words = container(manifest)["command"]
    if program == "sh":
        assert name_of(manifest) == "StatefulSet/shop-valkey"
        return
    if "flower" in words:
        names = [word.partition("=")[0].removeprefix("--") for word in words if "app" not in word]
        assert [name for name in names if name != "flower" and name not in flower_options] == []
        return
    name, _ = parse(COMMANDS[program], words)
    assert name in ("worker", "beat", "relay", "gateway")


def test_an_option_that_does_not_exist_is_found() -> None:
    for words in (["worker", "--host=x"], ["beat", "--pid=x", "--no-such-option"]):
        with pytest.raises(click.UsageError):
            parse(celery, words)
    with pytest.raises(click.UsageError):
        parse(main, ["relay", "--app=config"])


@workloads
def test_each_variable_is_a_setting_or_is_read_by_the_shop(manifest: Manifest) -> None:
    settings = {f"CELERIAC_{name.upper()}" for name in Settings.__dataclass_fields__}
    folders = (ROOT / "config", ROOT / "handlers")
    files = [path for f in folders for path in f.iterdir() if path.suffix in (".py", ".toml")]
    read = {*re.findall(r"\w+", "\n".join(path.read_text() for path in files))}
    command = " ".join(container(manifest)["command"])
    for name, value in environment(manifest).items():
        is_known = name in settings or name in read or f"${name}" in command
        is_part = any(f"$({name})" in str(other) for other in environment(manifest).values())
        assert is_known or is_part, name
        assert value != ""


@workloads
def test_a_setting_has_a_value_that_celeriac_accepts(manifest: Manifest) -> None:
    given = {
        name: value.replace("$(VALKEY_PASSWORD)", "x") if isinstance(value, str) else "redis://x/0"
        for name, value in environment(manifest).items()
        if name.startswith("CELERIAC_") and name != "CELERIAC_OUTBOX_URL"
    }
    Settings.load(given)


@workloads
def test_a_probe_calls_what_the_process_has(manifest: Manifest) -> None:
    only = container(manifest)
    paths = {getattr(route, "path", "") for route in gateway(EventBus(service="x")).routes}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = only.get(kind, {})
        if "httpGet" in probe:
            assert probe["httpGet"]["port"] in [port["name"] for port in only["ports"]]
            if name_of(manifest).endswith("-gateway"):
                assert probe["httpGet"]["path"] in paths
        elif "exec" in probe and probe["exec"]["command"][0] == "python":
            assert (ROOT / probe["exec"]["command"][-1]).exists()
            assert environment(manifest)["CELERIAC_HEARTBEAT"].startswith("/tmp/")


@pytest.mark.parametrize("manifest", parameters("ScaledObject"))
def test_the_url_for_keda_is_a_route_of_the_gateway_with_its_parameters(manifest: Manifest) -> None:
    spec = manifest["spec"]
    [trigger] = spec["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    service = re.fullmatch(r"/v1/scale/([^/]+)", url.path)
    assert service
    assert manifest["metadata"]["name"] == f"shop-{service[1]}"
    assert spec["scaleTargetRef"] == {"name": manifest["metadata"]["name"]}
    assert url.netloc == "shop-gateway.shop.svc:8080"
    question = parse_question(service[1], parse_qsl(url.query))
    assert question.max_workers == spec["maxReplicaCount"]
    assert question.cooldown == spec["cooldownPeriod"]
    assert question.unknown == 1
    assert (trigger["metadata"]["valueLocation"], trigger["metadata"]["targetValue"]) == (
        "workers",
        "1",
    )


def test_the_token_of_keda_is_one_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SCALE_TOKEN", "x" * 32)
    monkeypatch.setitem(os.environ, "GATEWAY_TOKEN", "y" * 32)
    tokens = {token.name: token for token in read_config(ROOT / "config/gateway.toml").tokens}
    assert tokens["keda"].types == ()
    assert tokens["keda"].scale == ["*"]
    manifests = load(ROOT / "deploy/rendered/shop.yaml")
    deployment = next(m for m in manifests if name_of(m) == "Deployment/shop-gateway")
    authentication = next(m for m in manifests if m["kind"] == "TriggerAuthentication")
    reference = environment(deployment)["SCALE_TOKEN"]["secretKeyRef"]
    [target] = authentication["spec"]["secretTargetRef"]
    assert target == {"parameter": "token", **reference}
    config = tomllib.loads((ROOT / "config/gateway.toml").read_text())
    assert config["tokens"]["keda"]["secret"] == {"env": "SCALE_TOKEN"}


def test_the_chart_deploys_what_compose_does() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    manifests = {
        m["metadata"]["name"].removeprefix("shop-"): m
        for m in load(ROOT / "deploy/rendered/shop.yaml")
        if m["kind"] in ("Deployment", "StatefulSet")
    }
    compose["orders-relay"] = compose.pop("relay")
    # In the cluster, PostgreSQL is elsewhere.
    assert compose.keys() - manifests.keys() == {"postgres"}
    assert manifests.keys() <= compose.keys()
    del compose["postgres"]
    for name, service in compose.items():
        if name == "valkey":
            assert container(manifests[name])["image"] == service["image"]
            continue
        words = shlex.split(service["command"].replace("-A config", "--app=config"))
        assert container(manifests[name])["command"] == words
        variables = service["environment"].keys()
        assert environment(manifests[name]).keys() - {"VALKEY_PASSWORD"} == variables


@renderings
def test_a_service_with_an_outbox_has_a_relay_of_the_same_database(path: Path) -> None:
    manifests = {name_of(m): m for m in load(path)}
    orders = manifests["Deployment/shop-orders"]
    reference = environment(orders)["CELERIAC_OUTBOX_URL"]
    assert reference.keys() == {"secretKeyRef"}
    relay = manifests["Deployment/shop-orders-relay"]
    assert environment(relay)["CELERIAC_OUTBOX_URL"] == reference
    assert environment(manifests["Deployment/shop-flower"])["CELERIAC_OUTBOX_URL"] == reference
    [rule] = manifests["NetworkPolicy/shop-database"]["spec"]["podSelector"]["matchExpressions"]
    with_database = {
        m["metadata"]["labels"]["app.kubernetes.io/component"]
        for m in manifests.values()
        if has_pods(m) and environment(m).keys() & {"CELERIAC_OUTBOX_URL", "SANDBOX_URL"}
    }
    assert {*rule["values"]} == with_database


@renderings
def test_the_pods_that_call_a_simulated_provider_share_its_database(path: Path) -> None:
    manifests = {name_of(m): m for m in load(path)}
    urls = {name: environment(m).get("SANDBOX_URL") for name, m in manifests.items() if has_pods(m)}
    shared = urls["Deployment/shop-billing"]
    assert shared is not None and shared.keys() == {"secretKeyRef"}
    assert {name: url for name, url in urls.items() if url is not None} == {
        "Deployment/shop-billing": shared,
        "Deployment/shop-shipping": shared,
    }
