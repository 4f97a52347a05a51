"""The files that docker-compose.yml and the Dockerfile name exist, and match the shop."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
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
    from config.services import SERVICES as shop

    assert {name: it["environment"]["CELERIAC_SERVICE"] for name, it in WORKERS.items()} == {
        name: name for name in shop
    }


@pytest.mark.parametrize("name", OURS)
def test_it_starts_nothing_but_celery(name: str) -> None:
    """And what it names of the shop is there."""
    celery, dash_a, app, verb, *options = shlex.split(OURS[name]["command"])
    assert (celery, dash_a, app) == ("celery", "-A", "config")
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
def test_what_it_waits_for_tells_its_health(name: str) -> None:
    for target, wanted in SERVICES[name].get("depends_on", {}).items():
        assert wanted == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[target]


def test_only_flower_is_published_and_only_here() -> None:
    published = {name: it["ports"] for name, it in SERVICES.items() if "ports" in it}
    assert published == {"flower": ["127.0.0.1:5555:5555"]}


def test_each_secret_is_in_the_example_and_has_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = dict(re.findall(r"\$\{(\w+)(:[?-])", text))
    secret = {name for name, how in used.items() if how == ":?"}
    assert secret == {"VALKEY_PASSWORD", "FLOWER_PASSWORD"}
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


def test_the_image_runs_as_nobody_in_particular() -> None:
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
    assert set(modules.split()) - {"handlers.gateway"} == {f"handlers.{name}"}
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


def test_a_worker_without_a_service_says_which_there_are() -> None:
    ran = run(sys.executable, "-m", "celery", "-A", "config", "worker")
    assert ran.returncode != 0
    assert "orders, billing, shipping, notifications, analytics" in ran.stderr


def test_a_service_that_is_none_is_named() -> None:
    ran = run(sys.executable, "-c", "import config", CELERIAC_SERVICE="biling")
    assert "CELERIAC_SERVICE='biling'" in ran.stderr


@pytest.mark.parametrize(
    ("age", "status"), [(0.0, 0), (60.0, 1), (None, 1)], ids=["fresh", "stale", "none"]
)
def test_the_probe_tells_a_fresh_heartbeat(tmp_path: Path, age: float | None, status: int) -> None:
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
