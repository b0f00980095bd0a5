"""deploy/kubernetes, by Kubernetes' own schemas and its restricted standard for pods."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.runtime.settings import Settings
from tests.support.manifests import unknown_settings

_BASE = Path(__file__).parents[2] / "deploy" / "kubernetes"
_VERSIONS = ("1.30", "1.37")
Document = dict[str, Any]


def _kustomization() -> Document:
    found: Document = yaml.safe_load((_BASE / "kustomization.yaml").read_text("utf-8"))
    return found


def _documents() -> list[Document]:
    return [
        document
        for name in _kustomization()["resources"]
        for document in yaml.safe_load_all((_BASE / name).read_text("utf-8"))
    ]


def _of_kind(kind: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in _documents() if document["kind"] == kind}


def _pods() -> Iterator[tuple[str, Document]]:
    for kind in ("Deployment", "Job"):
        for name, document in _of_kind(kind).items():
            yield name, document["spec"]["template"]["spec"]


def _settings() -> dict[str, str]:
    return dict(literal.split("=", 1) for literal in _kustomization()["configMapGenerator"][0]["literals"])


@pytest.mark.parametrize("version", _VERSIONS)
def test_each_resource_is_what_kubernetes_takes(version: str) -> None:
    documents = _documents()

    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)

    assert {(d["kind"], d["metadata"]["name"]) for d in documents} >= {
        ("Deployment", "clarion-api"),
        ("Deployment", "clarion-worker"),
        ("Job", "clarion-migrate"),
        ("Service", "clarion-api"),
        ("PodDisruptionBudget", "clarion-api"),
        ("PodDisruptionBudget", "clarion-worker"),
        ("HorizontalPodAutoscaler", "clarion-worker"),
        ("NetworkPolicy", "clarion"),
    }


def test_every_file_of_the_base_is_a_part_of_it() -> None:
    assert {path.name for path in _BASE.iterdir()} == {"kustomization.yaml", *_kustomization()["resources"]}


def test_pods_meet_the_restricted_standard() -> None:
    for _, pod in _pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}
            assert container["image"] == "clarion"


def test_probes_ask_what_the_processes_answer() -> None:
    for name, pod in _pods():
        (container,) = pod["containers"]
        if name == "clarion-migrate":
            continue
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
        assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in paths} <= set(ports)
    worker = _of_kind("Deployment")["clarion-worker"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "CLARION_WORKER_PORT", "value": str(worker["ports"][0]["containerPort"])} in worker["env"]


def test_a_gateway_that_stops_is_out_of_the_service_before_it_closes_its_port() -> None:
    pod = _of_kind("Deployment")["clarion-api"]["spec"]["template"]["spec"]
    probe = pod["containers"][0]["readinessProbe"]
    drain = float(_settings()["CLARION_DRAIN_DELAY"])

    assert probe["periodSeconds"] * probe["failureThreshold"] < drain
    assert drain + 10 < pod["terminationGracePeriodSeconds"]  # what service/api/server.py and pools take besides


def test_secrets_are_files_and_settings_are_known() -> None:
    settings = _settings()

    assert unknown_settings(settings) == set()
    assert not {"CLARION_DATABASE_URL", "CLARION_AMQP_URL"} & set(settings)
    for _, pod in _pods():
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert all(value.startswith(mount["mountPath"]) for name, value in settings.items() if name.endswith("_FILE"))
        assert pod["volumes"] == [{"name": mount["name"], "secret": {"secretName": "clarion", "defaultMode": 0o440}}]
    assert int(settings["CLARION_METRICS_PORT"]) != Settings.model_fields["port"].default


def test_what_selects_pods_finds_them() -> None:
    labels = [
        document["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "Job")
        for document in _of_kind(kind).values()
    ]
    selectors = [
        *(d["spec"]["selector"] for d in _of_kind("Service").values()),
        *(d["spec"]["selector"]["matchLabels"] for d in _of_kind("PodDisruptionBudget").values()),
        *(d["spec"]["podSelector"]["matchLabels"] for d in _of_kind("NetworkPolicy").values()),
    ]
    scaled = {d["spec"]["scaleTargetRef"]["name"] for d in _of_kind("HorizontalPodAutoscaler").values()}

    assert [s for s in selectors if not any(s.items() <= found.items() for found in labels)] == []
    assert scaled == set(_of_kind("Deployment"))
