"""`python -m devtools.chart.extract DEFINITIONS`: renew the schemas that the tests use.

DEFINITIONS is `_definitions.json` of a version with the suffix `-local-strict`, from the package
kubernetes-validate. That package has all kinds of all versions, 22 MB; the chart needs seven.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[2] / "tests/unit/deploy/schema/kubernetes.json"
KINDS = {
    "apps.v1": ("Deployment", "StatefulSet"),
    "core.v1": ("Service", "ServiceAccount"),
    "networking.v1": ("NetworkPolicy",),
    "policy.v1": ("PodDisruptionBudget",),
}


def extract(definitions: dict[str, Any], names: Iterator[str]) -> dict[str, Any]:
    """Return the definitions with these names and all that they refer to, without descriptions."""
    kept: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = _plain(definitions[name])
            waiting += _references(kept[name])
    return dict(sorted(kept.items()))


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _plain(value)
        for name, value in schema.items()
        if not name.startswith("x-kubernetes")
        # A property can have the name `description` too.
        and not (name == "description" and isinstance(value, str))
    }


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for value in schema.values():
            yield from _references(value)


def main(source: str) -> None:
    definitions = json.loads(Path(source).read_text(encoding="utf-8"))["$defs"]
    names = (f"io.k8s.api.{group}.{kind}" for group, kinds in KINDS.items() for kind in kinds)
    kept = extract(definitions, names)
    lines = (
        f"{json.dumps(name)}: {json.dumps(schema, separators=(',', ':'))}"
        for name, schema in kept.items()
    )
    comment = f"API of Kubernetes, Apache-2.0, from kubernetes-validate: {Path(source).parent.name}"
    text = ",\n".join(lines)
    TARGET.write_text(f'{{"$comment": {json.dumps(comment)}, "$defs": {{\n{text}\n}}}}\n')


if __name__ == "__main__":
    main(sys.argv[1])
