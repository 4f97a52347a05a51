"""What each pod of the chart may do, and what selects it."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac.cli.gateway import GRACE_SECONDS
from tests.unit.deploy.manifests import (
    Manifest,
    container,
    environment,
    has_pods,
    load,
    name_of,
    parameters,
    pod,
    pods,
    renderings,
)

SECRETS = ("PASSWORD", "TOKEN", "SECRET", "KEY")


def labels(manifest: Manifest) -> dict[str, str]:
    pod_labels: dict[str, str] = manifest["spec"]["template"]["metadata"]["labels"]
    return pod_labels


def selected(manifests: list[Manifest], selector: dict[str, str]) -> list[str]:
    return [
        name_of(workload)
        for workload in pods(manifests)
        if selector.items() <= labels(workload).items()
    ]


@pytest.mark.parametrize("manifest", parameters("Deployment", "StatefulSet"))
def test_a_pod_has_no_privileges(manifest: Manifest) -> None:
    spec, only = pod(manifest), container(manifest)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in only["volumeMounts"]
    assert only["resources"]["limits"]["memory"]
    assert only["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("manifest", parameters())
def test_secrets_are_referenced(manifest: Manifest) -> None:
    assert manifest["kind"] != "Secret"
    for name, value in environment(manifest).items() if has_pods(manifest) else ():
        if any(word in name for word in SECRETS):
            assert value.keys() == {"secretKeyRef"}, name
        assert "://:" not in str(value) or "://:$(VALKEY_PASSWORD)@" in value, name


@pytest.mark.parametrize("manifest", parameters("Deployment"))
def test_a_variable_refers_to_one_that_is_defined_before(manifest: Manifest) -> None:
    """Kubernetes leaves `$(NAME)` as it is otherwise."""
    names = [variable["name"] for variable in container(manifest)["env"]]
    assert len(names) == len({*names})
    if "VALKEY_PASSWORD" in names:
        assert names.index("VALKEY_PASSWORD") < names.index("CELERIAC_REDIS_URL")


@renderings
def test_a_selector_selects_the_pods_of_one_workload(path: Path) -> None:
    manifests = load(path)
    for workload in pods(manifests):
        selector = workload["spec"]["selector"]["matchLabels"]
        assert selected(manifests, selector) == [name_of(workload)]
    for workload in manifests:
        match workload["kind"]:
            case "PodDisruptionBudget":
                assert len(selected(manifests, workload["spec"]["selector"]["matchLabels"])) == 1
            case "Service":
                assert len(selected(manifests, workload["spec"]["selector"])) == 1


@renderings
def test_every_pod_is_in_a_network_policy_that_denies_by_default(path: Path) -> None:
    manifests = load(path)
    policies = {
        workload["metadata"]["name"]: workload for workload in manifests if is_policy(workload)
    }
    default = policies["shop"]["spec"]
    assert default["ingress"] == []
    assert default["policyTypes"] == ["Ingress", "Egress"]
    everything = [name_of(workload) for workload in pods(manifests)]
    assert selected(manifests, default["podSelector"]["matchLabels"]) == everything
    assert policies.pop("shop-database")["spec"]["policyTypes"] == ["Egress"]
    opened = {name for name in policies if name != "shop"}
    assert opened <= {"shop-valkey", "shop-gateway", "shop-flower"}
    for name in opened:
        [rule] = policies[name]["spec"]["ingress"]
        [target] = selected(manifests, policies[name]["spec"]["podSelector"]["matchLabels"])
        [opens] = [workload for workload in pods(manifests) if name_of(workload) == target]
        ports = [port["containerPort"] for port in container(opens)["ports"]]
        assert [port["port"] for port in rule["ports"]] == ports


def is_policy(manifest: Manifest) -> bool:
    return bool(manifest["kind"] == "NetworkPolicy")


@pytest.mark.parametrize("manifest", parameters("Deployment"))
def test_the_grace_period_is_longer_than_the_process_needs_to_stop(manifest: Manifest) -> None:
    seconds, name = pod(manifest).get("terminationGracePeriodSeconds", 30), name_of(manifest)
    if name.endswith("-gateway"):
        [_, before] = container(manifest)["lifecycle"]["preStop"]["exec"]["command"]
        assert seconds > int(before) + GRACE_SECONDS
    else:
        assert seconds >= 30


@renderings
def test_only_one_beat_runs(path: Path) -> None:
    beats = [workload for workload in pods(load(path)) if name_of(workload).endswith("-beat")]
    for deployment in beats:
        assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (
            1,
            {"type": "Recreate"},
        )
    assert len(beats) == 1
