"""The rendered manifests in deploy/rendered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RENDERED = sorted((ROOT / "deploy/rendered").glob("*.yaml"))
Manifest = dict[str, Any]
# libyaml is ten times as fast as PyYAML's own parser.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
renderings = pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)


@cache
def load(path: Path) -> list[Manifest]:
    """The documents of a file, which no test may change: they are loaded once."""
    return [document for document in yaml.load_all(path.read_text(), LOADER) if document]


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def parameters(*kinds: str) -> list[Any]:
    """A parameter for each manifest of these kinds, of all renderings; without kinds, of all."""
    return [
        pytest.param(manifest, id=f"{path.stem}-{name_of(manifest)}")
        for path in RENDERED
        for manifest in load(path)
        if not kinds or manifest["kind"] in kinds
    ]


def has_pods(manifest: Manifest) -> bool:
    return manifest["kind"] in ("Deployment", "StatefulSet")


def pod(manifest: Manifest) -> dict[str, Any]:
    """The pod's specification of a Deployment or StatefulSet."""
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def container(manifest: Manifest) -> dict[str, Any]:
    [only] = pod(manifest)["containers"]
    assert isinstance(only, dict)
    return only


def environment(manifest: Manifest) -> dict[str, Any]:
    """Name → value, or → `valueFrom`."""
    return {
        variable["name"]: variable.get("value", variable.get("valueFrom"))
        for variable in container(manifest).get("env", ())
    }


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    yield from filter(has_pods, manifests)
