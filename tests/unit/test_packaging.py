"""What is published: the description, the workflows that publish, the images that are pinned."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from devtools.release import check_tag, completed
from hatch_build import published

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = "https://example.com/celeriac"


def test_a_published_link_and_image_is_absolute() -> None:
    text = "[d](docs/README.md#a) ![i](docs/i.svg) [![b](b.svg)](c.md) [o](https://o.org) [t](#t)"
    assert published(text, REPOSITORY, "v1") == (
        f"[d]({REPOSITORY}/blob/v1/docs/README.md#a) ![i]({REPOSITORY}/raw/v1/docs/i.svg) "
        f"[![b]({REPOSITORY}/raw/v1/b.svg)]({REPOSITORY}/blob/v1/c.md) [o](https://o.org) [t](#t)"
    )


def test_published_code_stays_as_it_is_and_comments_go() -> None:
    text = "a\n<!--- skip: next -->\n```md\n[d](docs/README.md)\n```\n"
    assert published(text, REPOSITORY, "v1") == "a\n```md\n[d](docs/README.md)\n```\n"


def test_the_published_description_has_no_relative_link() -> None:
    text = published((ROOT / "README.md").read_text(), REPOSITORY, "v1")
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", re.sub(r"(?ms)^```.*?^```", "", text)) == []


def test_the_classifiers_name_the_python_versions_that_are_tested() -> None:
    named = set(re.findall(r":: (3\.\d+)", "\n".join(PROJECT["classifiers"])))
    rows = (ROOT / "docs/reference/supported-versions.md").read_text()
    tested = set(re.findall(r"\| (3\.\d+)\.\d+ \|.*passed", rows))
    assert named == tested


def test_a_tag_of_another_version_is_refused() -> None:
    import dev

    changelog = "## [1.0.0] - 2026-11-27\n\n## [0.9.0] - unreleased\n"
    check_tag("v1.0.0", "1.0.0", changelog)
    with pytest.raises(dev.Failure, match=r"tag v1\.0\.0"):
        check_tag("v1.0.1", "1.0.0", changelog)
    with pytest.raises(dev.Failure, match=r"no section 0\.9\.0 with a date"):
        check_tag("v0.9.0", "0.9.0", changelog)


def test_the_bill_of_materials_has_our_version_and_no_installer() -> None:
    bill = {
        "metadata": {"component": {"name": "celeriac"}},
        "components": [{"bom-ref": "pip==1", "name": "pip"}, {"bom-ref": "r==1", "name": "redis"}],
        "dependencies": [{"ref": "pip==1"}, {"ref": "r==1"}, {"ref": "root"}],
    }
    assert completed(bill, "1.0.0") == {
        "metadata": {
            "component": {
                "name": "celeriac",
                "version": "1.0.0",
                "purl": "pkg:pypi/celeriac@1.0.0",
            }
        },
        "components": [{"bom-ref": "r==1", "name": "redis"}],
        "dependencies": [{"ref": "r==1"}, {"ref": "root"}],
    }


@pytest.mark.skipif(
    not hasattr(click.ParamType, "__class_getitem__"),
    reason="check-jsonschema needs click 8.2 or later",
)
def test_the_workflows_are_valid() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    for schema, files in (
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github/dependabot.yml"]),
    ):
        command = [*check, schema, *map(str, files)]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_pins_each_action_by_commit(workflow: Path) -> None:
    uses = re.findall(r"uses: (\S+)", workflow.read_text())
    assert uses and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in uses)


def test_the_images_of_the_deployment_are_pinned_by_digest() -> None:
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    compose = (ROOT / "docker-compose.yml").read_text()
    images += re.findall(r"^    image: (\S+/\S+)", compose, re.M)
    assert len(images) == 3
    assert all(re.search(r":\d[\w.-]*@sha256:[0-9a-f]{64}$", image) for image in images)
