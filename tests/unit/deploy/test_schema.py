"""Rendered manifests fit the schemas of Kubernetes and KEDA, without a cluster."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.unit.deploy.manifests import RENDERED, Manifest, load, name_of, parameters

SCHEMAS = {
    name: json.loads((Path(__file__).parent / f"schema/{name}.json").read_text())
    for name in ("kubernetes", "keda")
}
GROUPS = {
    "apps/v1": "io.k8s.api.apps.v1.",
    "v1": "io.k8s.api.core.v1.",
    "networking.k8s.io/v1": "io.k8s.api.networking.v1.",
    "policy/v1": "io.k8s.api.policy.v1.",
}


def validate(manifest: Manifest) -> None:
    """Raise ValidationError; an unknown field is an error."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    is_keda = version.startswith("keda.sh/")
    document = SCHEMAS["keda" if is_keda else "kubernetes"]
    name = kind if is_keda else f"{GROUPS[version]}{kind}"
    schema = {**document, "$ref": f"#/$defs/{name}"}
    jsonschema.Draft202012Validator(schema).validate(manifest)


@pytest.mark.parametrize("manifest", parameters())
def test_a_manifest_fits_its_schema(manifest: Manifest) -> None:
    validate(manifest)


def change(manifest: Manifest, path: tuple[Any, ...], value: Any) -> Manifest:
    changed = copy.deepcopy(manifest)
    parent: Any = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return changed


CONTAINER = ("spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replica"), 1),
        ("Deployment", ("spec", "replicas"), "one"),
        ("Deployment", (*CONTAINER, "readOnlyRootFilesystem"), True),
        ("Deployment", (*CONTAINER, "readinessProbe", "httpget"), {}),
        ("Deployment", ("spec", "template", "spec", "terminationGracePeriod"), 60),
        ("NetworkPolicy", ("spec", "policyType"), ["Ingress"]),
        ("PodDisruptionBudget", ("spec", "unhealthyPodEvictionPolicies"), "AlwaysAllow"),
        ("ScaledObject", ("spec", "cooldown"), 300),
        ("ScaledObject", ("spec", "triggers", 0, "type"), "redis-streams"),
        ("ScaledObject", ("spec", "triggers", 0, "metadata", "targetValue"), 1),
        ("TriggerAuthentication", ("spec", "secretTargetRef", 0, "parameter"), "bearer"),
    ],
)
def test_a_wrong_field_does_not_fit(kind: str, path: tuple[Any, ...], value: Any) -> None:
    """The schemas are those of the API, so that the tests above mean something."""
    manifest = next(each for each in load(RENDERED[0]) if each["kind"] == kind)
    with pytest.raises(jsonschema.ValidationError):
        validate(change(manifest, path, value))


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_no_two_manifests_have_one_name(path: Path) -> None:
    names = [name_of(manifest) for manifest in load(path)]
    assert len(names) == len({*names})
    assert len(names) > 20
