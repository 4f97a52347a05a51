"""The reference pages list exactly what the code has."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

import celeriac
from celeriac import EventBus, Settings, errors
from celeriac.cli.root import main as celeriac_command
from celeriac.delivery.state import MOVES, DeliveryState
from celeriac.event import Event
from celeriac.gateway.metrics import GATEWAY_METRICS
from celeriac.gateway.refusal import REASONS
from celeriac.observability.metrics.definition import METRICS
from celeriac.store.redis.keys import Keys
from celeriac.tracking import state_of
from conftest import broken_links

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def page(name: str) -> str:
    return (DOCS / "reference" / name).read_text()


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row that begins with code."""
    lines = re.findall(r"^\| (`.*) \|$", text, re.M)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def table(name: str, heading: str = "") -> list[str]:
    """Return the first names in the rows of a page, from a heading to the next."""
    text = page(name)
    if heading:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [named(row[0])[0] for row in rows(text)]


def test_every_setting_is_there_with_its_variable_and_default() -> None:
    shown = {}
    for setting, variable, default, *_ in rows(page("settings.md")):
        shown[named(setting)[0]] = (named(variable)[0], default.strip("`").split()[0])
    settings = [field for field in fields(Settings) if field.name != "given"]
    assert list(shown) == [field.name for field in settings]
    for field in settings:
        variable, default = shown[field.name]
        assert variable == f"CELERIAC_{field.name.upper()}"
        if isinstance(field.default, bool):
            assert default == str(field.default).lower(), field.name
        elif isinstance(field.default, (int, float)):
            assert float(default) == field.default, field.name
    assert shown["redis_url"][1] == Settings().redis_url
    assert shown["namespace"][1] == Settings().namespace


def test_every_error_is_there_in_its_place() -> None:
    tree: dict[str, str] = {}
    above: list[str] = []
    drawing = page("errors.md").split("```")[1]
    for line in drawing.split("\n"):
        if found := re.match(r"([│├└─ ]*)(\w+)$", line):
            depth = len(found[1]) // 4
            tree[found[2]] = above[depth - 1] if depth else "Exception"
            above[depth:] = [found[2]]
    kinds = [
        k for k in vars(errors).values() if inspect.isclass(k) and k.__module__ == errors.__name__
    ]
    assert tree == {kind.__name__: kind.__bases__[0].__name__ for kind in kinds}
    assert {*table("errors.md")} == tree.keys() - {"CeleriacError"}
    assert all(hasattr(celeriac, name) for name in tree)


def test_every_state_and_every_move_of_a_delivery_is_there() -> None:
    text = page("delivery-states.md")
    places, moves = text.split("| from | move | to | when |")
    assert {named(row[0])[0] for row in rows(places)} == {
        state_of(place) for place in DeliveryState
    }
    shown = {(named(start)[0], named(move)[0]): {*named(to)} for start, move, to, _ in rows(moves)}
    legal = {
        (state_of(start).value, move): {state_of(place).value for place in to}
        for (start, move), to in MOVES.items()
    }
    assert shown == legal
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (\w+)$", text, re.M))
    assert drawn == {(start, to, move) for (start, move), ends in legal.items() for to in ends}


def parameters(function: Any) -> list[str]:
    names = [p.name for p in inspect.signature(function).parameters.values()]
    return [name for name in names if name not in ("self", "unknown")]


def test_every_option_of_on_is_there_with_its_default() -> None:
    assert [name.lstrip("*") for name in table("on.md")] == parameters(EventBus.on)
    signature = inspect.signature(EventBus.on).parameters
    for option, default, _ in rows(page("on.md"))[1:]:
        shown, real = default.strip("`"), signature[named(option)[0]].default
        if real is not None:
            assert shown == repr(real)
        elif shown not in ("none", "{}"):
            assert shown.startswith("the ")


def test_every_argument_of_emit_is_there() -> None:
    assert table("emit.md", "Arguments") == parameters(EventBus.emit)


def test_every_attribute_of_an_event_is_there() -> None:
    names = [cell for cell in table("event.md") if cell.isidentifier()]
    assert sorted(names) == sorted(Event.__struct_fields__)


def test_every_key_is_there() -> None:
    keys, handler = Keys(), "billing.charge_card"
    known = {
        keys.domains,
        keys.handlers,
        keys.workers,
        keys.scale_targets,
        keys.relayed,
        keys.config,
        keys.contracts,
        keys.tenants,
        keys.forgotten,
        keys.rate(handler),
        keys.replies("01a20743"),
    }
    known |= {keys.request_counts, keys.pending_requests}
    known |= {keys.circuits, keys.calls(handler)}
    known |= {
        getattr(keys, name)("order") for name in ("events", "delayed", "emitted", "dead", "wakeup")
    }
    known |= {
        getattr(keys, n)("order")
        for n in (
            "delayed_events",
            "schedules",
            "dead_groups",
            "dead_newest",
            "audit",
            "clock",
            "sources",
            "ambiguous",
        )
    }
    known.add(keys.ids("order")[0])
    known |= {
        getattr(keys, n)("order", handler)
        for n in ("scheduled", "stats", "patterns", "lost_runs", "chunks", "runs", "archive_replay")
    }
    known |= {
        *keys.matrix("order", handler),
        keys.verified("order", handler)[0],
        keys.failures("order", handler)[0],
        keys.emitted_events("order", handler)[0],
        keys.counters("order", handler),
        keys.counters("order", handler, 29733000),
    }
    known |= {keys.no_events("order")[0], *keys.of_flow("order", handler)}
    assert {*table("redis-keys.md")} == known


def test_every_metric_is_there_with_its_kind_and_labels() -> None:
    shown = {
        named(name)[0]: (kind, tuple(named(labels)))
        for name, kind, labels, _ in rows(page("metrics.md"))
    }
    assert shown == {name: (one.kind, one.labels) for name, one in METRICS.items()}


def test_every_metric_of_a_gateway_and_every_reason_is_there() -> None:
    shown = {
        named(row[0])[0]: (row[1], tuple(named(row[2])))
        for row in rows(page("gateway.md"))
        if named(row[0])[0].startswith("celeriac_gateway_")
    }
    assert shown == {name: (one.kind, one.labels) for name, one in GATEWAY_METRICS.items()}
    reasons = {*table("gateway.md", "`GET /metrics`")} - {*shown}
    assert reasons == {*REASONS.values(), "too_many", "failed", "cancelled"}


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    paths = [str(path.relative_to(DOCS)) for path in PAGES if path != DOCS / "README.md"]
    decisions = [path for path in paths if path.startswith("adr/") and path != "adr/README.md"]
    assert [path for path in paths if f"({path})" not in index] == decisions


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_the_links_of_the_pages_at_the_top_lead_somewhere(name: str) -> None:
    """Those of README.md and docs/ are checked by other tests: see conftest.py."""
    assert broken_links(ROOT / name) == []


@pytest.mark.parametrize(
    "path", [ROOT / "CONTRIBUTING.md", *sorted((DOCS / "internals").glob("*.md"))], ids=str
)
def test_the_files_that_a_page_for_contributors_names_are_there(path: Path) -> None:
    """A path is relative to the checkout or to src/celeriac."""
    names = {name for name in named(path.read_text()) if re.fullmatch(r"[\w-][\w./-]+", name)}
    paths = {name for name in names if "/" in name or name.endswith(".py")} - {".celeriac/"}
    folders = (ROOT, ROOT / "src" / "celeriac")
    assert [p for p in sorted(paths) if not any((f / p).exists() for f in folders)] == []


DECISIONS = {path.name[:4]: path for path in sorted((DOCS / "adr").glob("[0-9]*.md"))}


@pytest.mark.parametrize("number", DECISIONS)
def test_a_decision_is_short_and_states_its_status(number: str) -> None:
    """At most 300 words, and a superseded decision and its successor name each other."""
    text = DECISIONS[number].read_text()
    headings = re.findall(r"^## (.*)$", text, re.M)
    status = re.findall(r"^\*\*Status:\*\* (accepted|superseded by \[(\d{4})\])", text, re.M)
    assert headings == ["Context", "Decision", "Consequences"]
    assert len(status) == 1
    assert len(text.split()) <= 300
    if successor := status[0][1]:
        assert f"Supersedes [{number}]" in DECISIONS[successor].read_text()


def commands() -> dict[str, click.Command]:
    """Return full name → command, such as `dead list`."""
    found: dict[str, click.Command] = {}

    def visit(name: str, command: click.Command) -> None:
        if isinstance(command, click.Group):
            for child in command.list_commands(click.Context(command)):
                below = command.get_command(click.Context(command), child)
                assert below is not None
                visit(f"{name} {child}".strip(), below)
        if name and (not isinstance(command, click.Group) or command.invoke_without_command):
            found[name] = command

    visit("", celeriac_command)
    return found


COMMANDS = commands()


def spellings(command: click.Command) -> list[list[str]]:
    """Return the names of each option."""
    given = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return [[*option.opts, *option.secondary_opts] for option in given]


def section_of(command: str) -> str:
    heading = command.split()[0]
    return page("cli.md").split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_on_the_page_of_the_command_line(name: str) -> None:
    section = section_of(name)
    assert f"celeriac {name}" in section
    shown = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", section))
    assert [option for option in spellings(COMMANDS[name]) if not shown & {*option}] == []


def test_the_page_of_the_command_line_names_nothing_that_is_not_there() -> None:
    text = page("cli.md")
    assert {*re.findall(r"^## (\w+)$", text, re.M)} == {name.split()[0] for name in COMMANDS}
    for heading in {name.split()[0] for name in COMMANDS}:
        own = [command for name, command in COMMANDS.items() if name.split()[0] == heading]
        known = {o for command in own for p in command.params for o in p.opts}
        shown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", section_of(heading)))
        assert shown - known - {"--json", "--help"} == set(), heading


def section_of_troubleshooting(heading: str) -> set[str]:
    """Return the names in the first cells of the table below a heading."""
    text = (DOCS / "how-to/troubleshoot.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {name for row in rows(section) for name in named(row[0])}


def test_troubleshooting_has_every_check_of_doctor() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src/celeriac/cli/doctor").glob("*.py"))
    checks = set(re.findall(r"\b(?:ok|warn|fail)\)?\(\s*\"(\w+)\"", source))
    assert section_of_troubleshooting("A finding of `celeriac doctor`") == checks


def test_troubleshooting_has_every_error_that_is_a_fault() -> None:
    kinds = [k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, Exception)]
    # base classes, control flow, and the errors of commands for a wrong name
    others = {"CeleriacError", "InvalidEvent", "Retry", "Reject", "Skip", "CircuitOpen"}
    others.add("NotFound")
    faults = {kind.__name__ for kind in kinds} - others
    assert section_of_troubleshooting("An exception") - {"NOPERM"} == faults


def test_troubleshooting_quotes_log_messages_as_they_are() -> None:
    calls = [
        node
        for path in (ROOT / "src/celeriac").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("warning", "error")
    ]
    texts = [
        node.args[0].value for node in calls if node.args and isinstance(node.args[0], ast.Constant)
    ]
    quoted = section_of_troubleshooting("A warning in a worker's log")
    assert len(quoted) >= 10
    assert [part for part in sorted(quoted) if not any(part in str(text) for text in texts)] == []
