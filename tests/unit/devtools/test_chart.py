"""The chart, rendered and compared with deploy/rendered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from devtools.chart import __main__ as command
from devtools.chart.golden import (
    CHART,
    REFUSED,
    RENDERED,
    differences,
    rendered,
    values_of,
    write,
)
from devtools.chart.render import ChartError, find_renderer, manifests, normal_form

TWO = """
# a comment
kind: Service
metadata: {name: b}
---
---
kind: Deployment
metadata: {name: a}
"""
FAKE_HELM = """#!/bin/sh
[ "$1 $2" = "template shop" ] || exit 2
grep -q 'broken: true' - && { echo 'Error: values are broken' >&2; exit 1; }
printf 'kind: Service\\nmetadata: {name: a}\\n'
"""


def test_manifests_are_compared_without_their_order_and_comments() -> None:
    assert [found["kind"] for found in manifests(TWO)] == ["Deployment", "Service"]
    other = "kind: Deployment\nmetadata:\n  name: a\n---\nkind: Service\nmetadata: {name: b}\n"
    assert normal_form(TWO) == normal_form(other)


def test_each_example_is_rendered_besides_the_defaults() -> None:
    assert values_of().keys() == {"shop", "production"}
    assert {path.stem for path in RENDERED.glob("*.yaml")} == values_of().keys()


def test_differences_are_shown_until_they_are_written(tmp_path: Path) -> None:
    files = rendered(lambda chart, values: TWO)
    assert any(line.startswith("+kind: Service") for line in differences(files, tmp_path))
    write(files, tmp_path)
    assert list(differences(files, tmp_path)) == []
    (tmp_path / "old.yaml").write_text("kind: Secret\n")
    assert "-kind: Secret" in list(differences(files, tmp_path))
    write(files, tmp_path)
    assert not (tmp_path / "old.yaml").exists()


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `helm` on PATH."""
    (tmp_path / "helm").write_text(FAKE_HELM)
    (tmp_path / "helm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_helm_is_used_where_it_is_installed(helm: None) -> None:
    render = find_renderer()
    assert render is not None
    assert manifests(render(CHART, {}))[0]["metadata"] == {"name": "a"}
    with pytest.raises(ChartError, match="values are broken"):
        render(CHART, {"broken": True})


def test_without_a_renderer_the_check_fails_in_ci_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_renderer", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    assert command.main([]) == 0
    monkeypatch.setenv("CI", "true")
    assert command.main([]) == 1
    assert "install helm" in capsys.readouterr().err


def test_a_chart_that_does_not_render_fails_the_check(
    helm: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([]) == 1
    assert "run with --write" in capsys.readouterr().out

    def refuse(*_: object) -> str:
        raise ChartError("additional properties 'replica' not allowed")

    monkeypatch.setattr(command, "find_renderer", lambda: refuse)
    assert command.main([]) == 1
    assert "'replica' not allowed" in capsys.readouterr().err


def test_values_that_must_be_refused_and_are_not_fail_the_check(
    helm: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dev.py check chart` renders with the real Helm."""
    monkeypatch.setattr(command, "differences", lambda files: [])
    assert command.main([]) == 1
    assert "{'gateway': {'enabled': False}} must be refused" in capsys.readouterr().out

    def refuse(chart: Path, values: Mapping[str, Any]) -> str:
        for refused, part in REFUSED:
            if values == refused:
                raise ChartError(part)
        return TWO

    monkeypatch.setattr(command, "find_renderer", lambda: refuse)
    assert command.main([]) == 0


@pytest.mark.parametrize(("values", "part"), REFUSED[:-1])
def test_the_schema_of_the_values_refuses_mistakes(values: dict[str, Any], part: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError) as caught:
        jsonschema.validate(values, schema)
    assert part in f"{caught.value.json_path} {caught.value}"


@pytest.mark.parametrize("name", ["shop", "production"])
def test_the_values_fit_their_schema(name: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.validate(yaml.safe_load((CHART / "values.yaml").read_text()), schema)
    jsonschema.validate(values_of()[name], schema)


def test_without_autoscaling_the_replicas_are_fixed_and_keda_is_not_needed() -> None:
    production = list(yaml.safe_load_all((RENDERED / "production.yaml").read_text()))
    orders = [found for found in production if found["metadata"]["name"] == "shop-orders"]
    assert sorted(found["kind"] for found in orders) == ["Deployment", "PodDisruptionBudget"]
    deployment = next(found for found in orders if found["kind"] == "Deployment")
    assert deployment["spec"]["replicas"] == 2
    scaled = next(
        found
        for found in production
        if found["kind"] == "Deployment" and found["metadata"]["name"] == "shop-billing"
    )
    assert "replicas" not in scaled["spec"]
