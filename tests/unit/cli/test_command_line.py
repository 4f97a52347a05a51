"""The command itself: help, exit codes, the plugin of Celery, finding the bus of a module."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from celery import Celery
from click.testing import CliRunner

from celeriac import EventBus
from celeriac.cli.dispatcher import find_bus
from celeriac.cli.emit import read_data
from celeriac.cli.plugin import bus as plugin
from celeriac.cli.root import main
from celeriac.cli.show import count, when
from celeriac.cli.time_param import TimeParam

NOWHERE = "redis://127.0.0.1:1/0"
Found = dict[tuple[str, ...], click.Command]


@pytest.mark.parametrize(
    "command", ["events", "lag", "workers", "handlers", "doctor", "status x", "emit a.b 1"]
)
def test_an_unreachable_redis_is_reported_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERIAC_EMIT_TIMEOUT", "0.2")
    result = CliRunner().invoke(main, ["--redis-url", NOWHERE, *command.split()])
    assert 4 == result.exit_code
    assert result.stderr.startswith(f"Error: cannot reach Redis at {NOWHERE}")
    assert "" == result.stdout


def test_bad_settings_end_with_2() -> None:
    result = CliRunner().invoke(main, ["--redis-url", "http://x", "lag"])
    assert 2 == result.exit_code
    assert "CELERIAC_REDIS_URL" in result.stderr


@pytest.mark.parametrize("group", [main, plugin])
def test_a_misspelt_command_gets_the_closest_names(
    group: click.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "callback", None)
    result = CliRunner().invoke(group, ["statu"])
    assert 2 == result.exit_code
    assert "No such command 'statu'. Did you mean 'status'" in result.stderr
    assert "Did you mean" not in CliRunner().invoke(group, ["xyzzy"]).stderr


@pytest.mark.parametrize("option", ["--redis-url", "--namespace"])
def test_an_option_after_the_command_is_shown_in_its_place(option: str) -> None:
    result = CliRunner().invoke(main, ["dead", "list", option, "x"])
    assert 2 == result.exit_code
    assert f"{option} must be before the command: main {option} … dead list" in result.stderr
    assert "No such option '--nope'" in CliRunner().invoke(main, ["lag", "--nope"]).stderr


@pytest.mark.parametrize(
    ("content", "accepted"), [(b'\xef\xbb\xbf{"n": 1}\r\n', True), (b"\xff\xfe{", False)]
)
def test_a_file_of_windows_is_data(tmp_path: Path, content: bytes, accepted: bool) -> None:
    path = tmp_path / "order.json"
    path.write_bytes(content)
    if accepted:
        assert {"n": 1} == read_data(f"@{path}")
        return
    with pytest.raises(click.BadParameter, match=r"order.json: JSON is malformed|utf-8") as refused:
        read_data(f"@{path}")
    assert "double quotes" not in refused.value.message


def test_help_names_every_command_and_exit_code() -> None:
    out = CliRunner().invoke(main, ["--help"]).stdout
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert f"  {name} " in out
        assert command.help
    assert "4  Redis is unreachable" in out


def test_commands_on_a_real_server(redis_url: str, namespace: str) -> None:
    def run(*arguments: str) -> str:
        given = ["--redis-url", redis_url, "--namespace", namespace, *arguments]
        result = CliRunner().invoke(main, given)
        assert 0 == result.exit_code, result.output
        return result.stdout

    id = run("emit", "order.placed", '{"n": 1}').strip()
    assert "No handler is subscribed to it." in run("status", id)
    assert id in run("events")
    assert "server" in run("doctor")


def test_the_plugin_has_the_settings_of_the_app(redis_url: str, namespace: str) -> None:
    app = Celery("billing", broker=redis_url)
    own = EventBus(app, service="billing", redis_url=redis_url, namespace=namespace)
    id = own.emit("order.placed", {"n": 1})
    result = CliRunner().invoke(plugin, ["status", id], obj=types.SimpleNamespace(app=app))
    assert 0 == result.exit_code, result.output
    assert "order.placed" in result.stdout
    result = CliRunner().invoke(plugin, ["status", "nope"], obj=types.SimpleNamespace(app=app))
    assert 1 == result.exit_code


def test_the_plugin_needs_an_app_with_a_bus() -> None:
    result = CliRunner().invoke(plugin, ["lag"], obj=types.SimpleNamespace(app=Celery("plain")))
    assert 2 == result.exit_code
    assert "EventBus(app)" in result.stderr


def test_the_plugin_imports_nothing_more_of_ours() -> None:
    """Every celery process imports it."""
    code = (
        "import sys, celeriac; before = set(sys.modules); import celeriac.cli.plugin; "
        "new = set(sys.modules) - before; "
        "print(sorted(name for name in new if name.startswith(('celeriac', 'rich'))))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "['celeriac.cli', 'celeriac.cli.plugin']"


def module(name: str, **members: object) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(members)
    return made


def test_the_bus_of_a_module_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = EventBus(service="first"), EventBus(service="second")
    monkeypatch.setitem(sys.modules, "one", module("one", events=first))
    monkeypatch.setitem(sys.modules, "named", module("named", other=first, bus=second))
    monkeypatch.setitem(sys.modules, "two", module("two", a=first, b=second))
    assert find_bus("one") is first
    assert find_bus("named") is second
    assert find_bus("named:other") is first
    for where in ("two", "two:c", "no_such_module"):
        with pytest.raises(click.BadParameter):
            find_bus(where)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T07:00Z", "2026-11-23T07:00:00+00:00"),
        ("2026-11-23T07:00", "2026-11-23T07:00:00+00:00"),
        ("2026-11-23T07:00+02:00", "2026-11-23T07:00:00+02:00"),
        ("2026-11-23", "2026-11-23T00:00:00+00:00"),
    ],
)
def test_times_are_utc_unless_they_have_a_zone(text: str, expected: str) -> None:
    assert expected == TimeParam().convert(text, None, None).isoformat()


@pytest.mark.parametrize("text", ["", "soon", "12", "5 m", "m5"])
def test_what_is_neither_time_nor_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        TimeParam().convert(text, None, None)


def test_quantities_read_well() -> None:
    assert ("1 event", "2,000 entries") == (count(1, "event"), count(2000, "entry", "entries"))
    assert "1970-01-01 00:00:01 (1 s ago)" == when(1000, now_ms=2000)
    assert "1970-01-01 00:00:03 (in 1 s)" == when(3000, now_ms=2000)


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> dict[tuple[str, ...], click.Command]:
    context = click.Context(group)
    found: Found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found[*path, name] = command
        if isinstance(command, click.Group):
            found |= commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_the_reference_has_every_command_and_option(path: tuple[str, ...]) -> None:
    page = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text()
    section = page.split(f"\n## {path[0]}\n")[1].split("\n## ")[0]
    assert f"celeriac {' '.join(path)}" in section or path == ("dead",)
    for parameter in commands(main)[path].params:
        if isinstance(parameter, click.Option):
            assert any(name in section for name in parameter.opts), parameter.opts


@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        (("--source", "\udcff"), 2, "is not valid UTF-8"),
        (("--directory", "/proc/keys/x"), 1, "/proc/keys/x: Not a directory. Check the path"),
    ],
)
def test_a_wrong_path_or_argument_is_reported_in_one_line(
    option: Sequence[str], code: int, message: str, tmp_path: Path
) -> None:
    command = ["keys", "generate", "billing", "--directory", str(tmp_path), *option]
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.exception
    assert message in result.stderr
