"""The files that docker-compose.yml and the Dockerfile name exist, and match the shop."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: it for name, it in SERVICES.items() if it["image"] == "celeriac-shop"}
WORKERS = {name: it for name, it in OURS.items() if "worker" in it["command"]}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("CELERIAC_", "FLOWER_"))}
    return subprocess.run(
        command, cwd=ROOT, env={**bare, **environment}, capture_output=True, text=True
    )


@pytest.mark.skipif(
    not hasattr(click.ParamType, "__class_getitem__"),
    reason="check-jsonschema needs click 8.2 or later",
)
def test_the_compose_file_is_valid() -> None:
    schema = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = run(*schema, "docker-compose.yml")
    assert checked.returncode == 0, checked.stdout


def test_there_is_a_worker_for_each_service_of_the_shop() -> None:
    # Not imported: its contracts are of the whole process, so of other tests too.
    shop = runpy.run_path(str(ROOT / "config" / "services.py"))["SERVICES"]
    assert {name: it["environment"]["CELERIAC_SERVICE"] for name, it in WORKERS.items()} == {
        name: name for name in shop
    }


CELERY = {name: it for name, it in OURS.items() if it["command"].startswith("celery ")}


def test_it_starts_celery_the_relay_and_the_gateway() -> None:
    programs = {name: it["command"].split()[:2] for name, it in OURS.items() if name not in CELERY}
    assert programs == {"relay": ["celeriac", "relay"], "gateway": ["celeriac", "gateway"]}


@pytest.mark.parametrize("name", CELERY)
def test_a_command_of_celery_names_what_the_shop_has(name: str) -> None:
    _, dash_a, app, verb, *options = shlex.split(CELERY[name]["command"])
    assert (dash_a, app) == ("-A", "config")
    assert verb in {"worker", "beat", "flower"}
    for option in options:
        flag, _, value = option.partition("=")
        if flag == "--conf":
            assert (ROOT / value).is_file()
        if flag == "--hostname":
            assert value == f"{name}@%h", "Flower shows the service by it; %h keeps it unique"


@pytest.mark.parametrize("name", SERVICES)
def test_it_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and service["init"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "container_name" not in service, "it would forbid --scale"


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_depends_on_has_a_health_check(name: str) -> None:
    for target, wanted in SERVICES[name].get("depends_on", {}).items():
        assert wanted == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[target]


def test_only_flower_and_the_gateway_are_published_and_only_here() -> None:
    published = {name: it["ports"] for name, it in SERVICES.items() if "ports" in it}
    assert published == {"flower": ["127.0.0.1:5555:5555"], "gateway": ["127.0.0.1:8080:8080"]}


def test_an_image_of_another_project_is_pinned_by_its_digest() -> None:
    images = {name: it["image"] for name, it in SERVICES.items() if name not in OURS}
    assert images.keys() == {"valkey", "postgres"}
    for image in images.values():
        assert re.fullmatch(r"[\w/]+:\d+\.\d+(\.\d+)?-alpine@sha256:[0-9a-f]{64}", image)


def test_a_service_that_uses_the_database_waits_for_it() -> None:
    using = {name for name, it in OURS.items() if "@postgres:" in str(it["environment"])}
    assert using == {"orders", "relay", "billing", "shipping", "flower"}
    assert using == {name for name, it in OURS.items() if "postgres" in it["depends_on"]}


def test_no_data_is_in_a_container() -> None:
    """So any service can have several containers."""
    volumes = {name: it["volumes"] for name, it in SERVICES.items() if "volumes" in it}
    assert volumes == {
        "valkey": ["events:/data"],
        "postgres": ["database:/var/lib/postgresql/data"],
    }
    assert COMPOSE["volumes"].keys() == {"events", "database"}


def test_each_secret_of_the_gateway_is_given() -> None:
    config = tomllib.loads((ROOT / "config" / "gateway.toml").read_text())
    read = {token["secret"]["env"] for token in config["tokens"].values()}
    assert read <= SERVICES["gateway"]["environment"].keys()


def test_each_secret_is_in_the_example_and_has_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = dict(re.findall(r"\$\{(\w+)(:[?-])", text))
    secret = {name for name, how in used.items() if how == ":?"}
    assert secret == {
        "VALKEY_PASSWORD", "POSTGRES_PASSWORD", "FLOWER_PASSWORD", "GATEWAY_TOKEN", "SCALE_TOKEN",
    }  # fmt: skip
    example = (ROOT / ".env.example").read_text()
    for name in used:
        assert re.search(rf"^(# )?{name}=", example, re.M)
    for name in secret:
        assert re.search(rf"^{name}=$", example, re.M), "a default secret is none"


def test_the_dockerfile_copies_what_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    sources = {source for line in copied for source in line.split()}
    assert sources == set(kept)
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_runs_as_any_user() -> None:
    assert re.search(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.M)


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_imports_its_own_handlers_alone(name: str) -> None:
    """Each handler uses the service's queue, and each task is routed to a worker that has it."""
    script = (
        "import sys; from config import app, bus; app.loader.import_default_modules();"
        "print(*sorted(m for m in sys.modules if m.startswith('handlers.')));"
        "handlers = bus.service.handlers;"
        "print(*sorted(handlers), '|', *{h.queue for h in handlers.values()});"
        "print(*sorted(t for t in app.tasks if t.startswith('tasks.')))"
    )
    ran = run(sys.executable, "-c", script, CELERIAC_SERVICE=name)
    assert ran.returncode == 0, ran.stderr
    modules, registered, tasks = ran.stdout.splitlines()
    of_services = {f"handlers.{service}" for service in WORKERS}
    assert set(modules.split()) & of_services == {f"handlers.{name}"}
    handlers, _, queues = registered.partition(" | ")
    assert handlers.split() and all(h.startswith(f"{name}.") for h in handlers.split())
    assert queues == name
    assert bool(tasks) == (name == "orders")


def test_beat_calls_tasks_that_there_are() -> None:
    script = (
        "from config import app; app.loader.import_default_modules();"
        "called = {entry['task'] for entry in app.conf.beat_schedule.values()};"
        "assert called <= set(app.tasks), called;"
        "assert {app.amqp.router.route({}, name)['queue'].name for name in called} == {'orders'}"
    )
    ran = run(sys.executable, "-c", script, CELERIAC_SERVICE="orders")
    assert ran.returncode == 0, ran.stderr


def test_the_error_of_a_worker_without_a_service_lists_all() -> None:
    ran = run(sys.executable, "-m", "celery", "-A", "config", "worker")
    assert ran.returncode != 0
    assert "orders, billing, shipping, notifications, analytics" in ran.stderr


def test_a_service_that_is_none_is_named() -> None:
    ran = run(sys.executable, "-c", "import config", CELERIAC_SERVICE="biling")
    assert "CELERIAC_SERVICE='biling'" in ran.stderr


@pytest.mark.parametrize(
    ("age", "status"), [(0.0, 0), (60.0, 1), (None, 1)], ids=["fresh", "stale", "none"]
)
def test_the_probe_accepts_a_fresh_heartbeat(
    tmp_path: Path, age: float | None, status: int
) -> None:
    heartbeat = tmp_path / "heartbeat"
    if age is not None:
        heartbeat.touch()
        touched = time.time() - age
        os.utime(heartbeat, (touched, touched))
    kind, *probe = WORKERS["billing"]["healthcheck"]["test"]
    assert kind == "CMD"
    ran = run(sys.executable, *probe[1:], CELERIAC_HEARTBEAT=str(heartbeat))
    assert ran.returncode == status
    assert bool(ran.stderr) == bool(status)


def test_flower_refuses_to_reach_others_without_a_password() -> None:
    flower = [sys.executable, "-m", "celery", "-A", "config", "flower", "--conf=config/flower.py"]
    ran = run(*flower, "--port=0", FLOWER_ADDRESS="0.0.0.0")
    assert ran.returncode != 0
    assert "--basic-auth" in ran.stderr
