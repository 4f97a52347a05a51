"""The files of a new service, as rendered."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import click
import pytest
import yaml

from celeriac.scaffold import Form, ServiceName, next_steps
from celeriac.scaffold.name import MAX_LENGTH
from celeriac.scaffold.template import SUFFIX, render
from celeriac.settings import VERSION

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "src/celeriac/scaffold/template"
NAME = ServiceName("order-intake")
FORMS = pytest.mark.parametrize("form", Form)

Rendered = dict[PurePosixPath, str]


@pytest.fixture
def rendered(form: Form) -> Rendered:
    return render(form, NAME)


def text(rendered: Rendered, path: str) -> str:
    return rendered[PurePosixPath(path)]


@FORMS
def test_no_file_comes_from_two_folders(form: Form, rendered: Rendered) -> None:
    folders = [TEMPLATES / folder for folder in form.folders]
    assert len(rendered) == sum(len([*f.rglob(f"*{SUFFIX}")]) for f in folders)


def test_every_template_belongs_to_a_form_and_has_the_suffix() -> None:
    assert {f.name for f in TEMPLATES.iterdir()} == {f for form in Form for f in form.folders}
    files = [path for path in TEMPLATES.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix != SUFFIX] == []


@FORMS
def test_the_parts_of_a_service_are_there(form: Form, rendered: Rendered) -> None:
    assert rendered.keys() > {
        PurePosixPath(path)
        for path in (
            "README.md", "pyproject.toml", "Dockerfile", "docker-compose.yml", ".gitignore",
            ".dockerignore", ".github/workflows/ci.yml", "order_intake/__init__.py",
            "order_intake/celery.py", "order_intake/events.py", "order_intake/handlers.py",
            "tests/test_handlers.py",
        )
    }  # fmt: skip


@FORMS
def test_no_placeholder_is_left(form: Form, rendered: Rendered) -> None:
    for path, content in rendered.items():
        assert not re.search(r"\$(?!\{\{ matrix)", content), path


@FORMS
def test_python_files_parse(form: Form, rendered: Rendered) -> None:
    for path, content in rendered.items():
        if path.suffix == ".py":
            ast.parse(content, str(path))


@FORMS
def test_the_project_needs_this_version_of_celeriac(form: Form, rendered: Rendered) -> None:
    project = tomllib.loads(text(rendered, "pyproject.toml"))["project"]
    assert project["name"] == "order-intake"
    assert re.fullmatch(rf"celeriac(\[.*\])?~={re.escape(VERSION)}", project["dependencies"][0])


@FORMS
def test_lines_of_code_fit_with_the_longest_name(form: Form) -> None:
    for path, content in render(form, ServiceName("a" * MAX_LENGTH)).items():
        if path.suffix == ".py":
            assert [line for line in content.splitlines() if len(line) > 100] == [], path


@FORMS
def test_ci_pins_the_actions_that_this_repository_pins(form: Form, rendered: Rendered) -> None:
    pinned = re.findall(r"uses: (.*)", text(rendered, ".github/workflows/ci.yml"))
    ours = "".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    assert pinned and [action for action in pinned if f"uses: {action}\n" not in ours] == []


@FORMS
def test_each_process_is_a_service_of_docker_compose(form: Form, rendered: Rendered) -> None:
    services = yaml.safe_load(text(rendered, "docker-compose.yml"))["services"]
    commands = {service.get("command", "").split()[0]: name for name, service in services.items()
                if "command" in service}  # fmt: skip
    assert commands["valkey-server"] == "valkey" and commands["celery"] == "worker"
    web = {Form.FASTAPI: {"uvicorn": "api"}, Form.DJANGO: {"gunicorn": "web", "python": "migrate"}}
    assert commands.items() >= web.get(form, {}).items()


@pytest.mark.skipif(
    not hasattr(click.ParamType, "__class_getitem__"),
    reason="check-jsonschema needs click 8.2 or later",
)
@FORMS
def test_workflow_and_compose_file_are_valid(
    form: Form, rendered: Rendered, tmp_path: Path
) -> None:
    for schema, name in (
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
        ("vendor.compose-spec", "docker-compose.yml"),
    ):
        path = tmp_path / "file.yml"
        path.write_text(text(rendered, name))
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


@FORMS
def test_the_readme_has_the_next_steps(form: Form, rendered: Rendered) -> None:
    steps = next_steps(form, NAME)
    readme = text(rendered, "README.md")
    commands = [*steps.install, steps.test, *steps.run, steps.emit]
    assert [command for command in commands if f"\n{command}\n" not in readme] == []


@FORMS
def test_links_of_the_readme_lead_to_pages_of_the_documentation(
    form: Form, rendered: Rendered
) -> None:
    links = re.findall(
        r"https://celeriac.github.io/celeriac/([\w/-]+)/", text(rendered, "README.md")
    )
    assert links and [link for link in links if not (ROOT / f"docs/{link}.md").is_file()] == []
