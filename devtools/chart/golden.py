"""The rendered manifests in deploy/rendered, and how they differ from the chart."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from devtools.chart.render import ChartError, Render, normal_form

ROOT = Path(__file__).parents[2]
CHART, RENDERED = ROOT / "deploy/helm", ROOT / "deploy/rendered"
HEAD = "# Rendered from deploy/helm by `python -m devtools.chart --write`: do not edit.\n"

# Values that the chart must refuse → a part of its message.
REFUSED: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"services": {"billing": {"replica": 1}}}, "replica"),
    ({"services": {"gateway": {}}}, "gateway"),
    ({"worker": {"processes": 0}}, "processes"),
    ({"environment": {"celeriac_lease": 30}}, "celeriac_lease"),
    ({"gateway": {"enabled": False}}, "autoscaling needs gateway.enabled"),
)


def accepted(render: Render, chart: Path = CHART) -> Iterator[str]:
    """Yield a sentence for each of the values in REFUSED that the chart accepts."""
    for values, part in REFUSED:
        try:
            render(chart, values)
        except ChartError as error:
            if part in str(error):
                continue
        yield f"{values} must be refused, with {part!r} in the message"


def values_of(chart: Path = CHART) -> dict[str, Mapping[str, Any]]:
    """Return name → values of each rendering: the default ones, and each example."""
    examples = sorted((chart / "examples").glob("*.yaml"))
    return {"shop": {}} | {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in examples
    }


def rendered(render: Render, chart: Path = CHART) -> dict[str, str]:
    """Return file name → content of each rendering."""
    return {
        f"{name}.yaml": HEAD + normal_form(render(chart, values))
        for name, values in values_of(chart).items()
    }


def differences(files: Mapping[str, str], directory: Path = RENDERED) -> Iterator[str]:
    """Yield the lines that differ between the renderings and the files in a directory."""
    for name in sorted({*files, *(path.name for path in directory.glob("*.yaml"))}):
        path = directory / name
        stored = path.read_text(encoding="utf-8") if path.exists() else ""
        made = files.get(name, "")
        yield from difflib.unified_diff(
            stored.splitlines(), made.splitlines(), f"deploy/rendered/{name}", "chart", lineterm=""
        )


def write(files: Mapping[str, str], directory: Path = RENDERED) -> None:
    """Write the renderings, and remove those that no values have any more."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.yaml"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
