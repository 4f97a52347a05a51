"""Render the chart, with `helm` or with the library of Helm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

# A mapping of values → documents in YAML.
Render = Callable[[Path, Mapping[str, Any]], str]
RELEASE, NAMESPACE = "shop", "shop"


class ChartError(Exception):
    """The chart cannot be rendered."""


def find_renderer() -> Render | None:
    """Return a renderer; None if neither `helm` nor helm-python-sdk is installed."""
    if helm := shutil.which("helm"):
        return lambda chart, values: render_with_command(helm, chart, values)
    try:
        import helm_python  # noqa: F401
    except ImportError:
        return None
    return render_with_library


def render_with_command(helm: str, chart: Path, values: Mapping[str, Any]) -> str:
    """Run `helm template`."""
    command = [helm, "template", RELEASE, str(chart), "--namespace", NAMESPACE, "--values", "-"]
    done = subprocess.run(
        command, input=yaml.safe_dump(dict(values)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ChartError(done.stderr.strip())
    return done.stdout


def render_with_library(chart: Path, values: Mapping[str, Any]) -> str:
    """Use the Go library of Helm, which the package helm-python-sdk contains."""
    import helm_python

    try:
        findings = helm_python.lint(chart, dict(values))
        if findings["errors"]:
            raise ChartError("\n".join(findings["errors"]))
        with helm_python.Chart.load(chart) as loaded:
            rendered = loaded.render(dict(values), name=RELEASE, namespace=NAMESPACE)
    except helm_python.HelmError as error:
        raise ChartError(str(error)) from None
    notes = "NOTES.txt"
    return "\n---\n".join(text for path, text in rendered.items() if not path.endswith(notes))


def manifests(text: str) -> list[dict[str, Any]]:
    """Return the documents, by kind and name: renderers differ in their order."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    return sorted(documents, key=lambda manifest: (manifest["kind"], manifest["metadata"]["name"]))


def normal_form(text: str) -> str:
    """Return the documents in the form in which they are compared: without comments."""
    return yaml.safe_dump_all(manifests(text), sort_keys=False, width=100, allow_unicode=True)
