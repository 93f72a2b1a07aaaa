"""deploy/kubernetes: what the API server would refuse, and what would go wrong once it has taken it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from askbot_ws.config import FIELD_OF_VARIABLE, OTHER_VARIABLES, load

from .process import ROOT
from .redis_server import redis_server

FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yml").read_text())
MANIFESTS = [FOLDER / name for name in [*KUSTOMIZATION["resources"], "secret.yml"]]
CONNECTIONS_CLOSED_PER_SECOND = 1000  # CLOSE_BATCH_SIZE each 50 ms, where clients are slow


def read(path: Path) -> list[dict[str, Any]]:
    """The objects of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def found(kind: str, name: str = "askbot") -> dict[str, Any]:
    """The object of this kind and name."""
    (it,) = [
        each for path in MANIFESTS for each in read(path) if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return it


def pod(kind: str, name: str = "askbot") -> tuple[dict[str, Any], dict[str, Any]]:
    """The template of a workload's pods, and its one container."""
    template = found(kind, name)["spec"]["template"]
    (container,) = template["spec"]["containers"]
    return template, container


WORKLOADS = [("Deployment", "askbot"), ("StatefulSet", "askbot-valkey")]


@pytest.mark.parametrize("version", ["1.32", "1.37"])
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_manifests_are_what_the_schemas_of_kubernetes_say(path: Path, version: str) -> None:
    """Of the oldest version that we name and of a new one; a field that is not in them is a fault."""
    for manifest in read(path):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_every_file_is_applied_but_the_secret_and_what_others_read() -> None:
    """A file that is forgotten in the list is one that nobody gets."""
    left = {path.name for path in FOLDER.iterdir()} - set(KUSTOMIZATION["resources"])
    assert left == {"kustomization.yml", "secret.yml", "prometheus-adapter.yml"}


def test_the_secret_is_shipped_empty() -> None:
    """With an example in it, that example would be somebody's password."""
    assert set(found("Secret")["stringData"].values()) == {""}


def test_the_page_makes_a_secret_with_all_that_is_asked_of_it() -> None:
    """By one command, which has a name and a value for each."""
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    command = re.findall(r"kubectl create secret generic askbot (.*?)\nkubectl", page, flags=re.DOTALL)[0]
    assert set(re.findall(r"--from-(?:literal|file)=([\w-]+)", command)) == set(found("Secret")["stringData"])


@pytest.mark.parametrize(("kind", "name"), WORKLOADS)
def test_no_pod_can_do_more_than_it_has_to(kind: str, name: str) -> None:
    """What the Pod Security Standard `restricted` asks, a root that can't be written, and bounds."""
    template, container = pod(kind, name)
    spec, security = template["spec"], container["securityContext"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("kind", "name"), WORKLOADS)
def test_what_a_pod_names_is_there(kind: str, name: str) -> None:
    """Labels that selectors look for, volumes, ports of probes, and the objects and keys that values come from."""
    template, container = pod(kind, name)
    labels = {"app.kubernetes.io/name": name}
    assert template["metadata"]["labels"] == found(kind, name)["spec"]["selector"]["matchLabels"] == labels
    assert found("Service", name)["spec"]["selector"] == labels
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in found("Service", name)["spec"]["ports"]} <= ports
    probes: list[dict[str, Any]] = [container[f"{each}Probe"] for each in ("startup", "liveness", "readiness")]
    asked = {probe[way]["port"] for probe in probes for way in ("httpGet", "tcpSocket") if way in probe}
    assert asked == ports
    volumes = {each["name"]: each for each in template["spec"].get("volumes", [])}
    claims = [each["metadata"]["name"] for each in found(kind, name)["spec"].get("volumeClaimTemplates", [])]
    assert {each["name"] for each in container["volumeMounts"]} == {*volumes, *claims}
    references = [each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each]
    keys = found("Secret")["stringData"]
    for reference in references:
        assert (reference["name"], reference["key"] in keys) == ("askbot", True), reference
    for volume in volumes.values():
        if "configMap" in volume:
            assert found("ConfigMap", volume["configMap"]["name"])


def settings_of_a_node() -> dict[str, str]:
    """What the Deployment sets, and the ConfigMap."""
    _, container = pod("Deployment")
    assert container["envFrom"] == [{"configMapRef": {"name": "askbot"}}]
    written = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    return {**found("ConfigMap")["data"], **written}


def test_the_settings_of_a_node_are_ones_that_the_server_takes() -> None:
    """Each exists and has a value that is valid; the store goes by its Service, with the Secret's password."""
    environ = settings_of_a_node()
    assert environ["ASKBOT_STORE"] == "redis://:$(VALKEY_PASSWORD)@askbot-valkey:6379"
    assert found("Service", "askbot-valkey")["spec"]["ports"][0]["port"] == 6379
    assert set(environ) <= {*FIELD_OF_VARIABLE, *OTHER_VARIABLES}
    environ["ASKBOT_STORE"] = environ["ASKBOT_STORE"].replace("$(VALKEY_PASSWORD)", "0f" * 32)
    assert load(environ=environ | {"OPENAI_API_KEY": "sk-1"}).hosts == ("chat.example.com",)

    template, container = pod("Deployment")
    (keys,) = [each["secret"] for each in template["spec"]["volumes"] if "secret" in each]
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    secrets = {
        each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"] if "valueFrom" in each
    }
    assert secrets["ASKBOT_TICKET_SECRET"] == "ticket-secret"  # of all nodes: none can keep one beside its keys
    assert (keys["secretName"], keys["items"]) == ("askbot", [{"key": "keys", "path": "keys"}])
    assert mounted[str(Path(environ["ASKBOT_KEYS"]).parent)] == "keys"
    # Variables that Kubernetes makes of the Service `askbot` would be taken for settings: ASKBOT_PORT=tcp://10.0.0.1:80.
    assert template["spec"]["enableServiceLinks"] is False


def test_the_image_is_the_dockerfiles() -> None:
    """Its port, its user and its architecture of files; the tag is of the version that is in the repository."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    template, container = pod("Deployment")
    (image,) = KUSTOMIZATION["images"]
    assert container["image"] == image["name"] == "askbot-ws"
    assert yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["node"]["image"] == "askbot-ws"
    version = re.search(r'__version__ = "(.*?)"', (ROOT / "src/askbot_ws/__init__.py").read_text())
    assert version
    assert image["newTag"] == version[1].partition(".dev")[0]
    (port,) = container["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile
    assert f"--uid {template['spec']['securityContext']['runAsUser']} askbot" in dockerfile


def test_probes_ask_what_each_is_for() -> None:
    """A node whose provider or Redis is away is not killed for it, but sent no new people."""
    _, container = pod("Deployment")
    paths = {each: container[f"{each}Probe"]["httpGet"]["path"] for each in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_a_node_that_is_stopped_has_time_to_drain() -> None:
    """It gets no new connections before it refuses them; then answers end, then ten thousand connections are closed."""
    template, container = pod("Deployment")
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = load(environ={"ASKBOT_DRAIN": settings_of_a_node()["ASKBOT_DRAIN"]}).drain
    assert waits >= 5
    assert template["spec"]["terminationGracePeriodSeconds"] > waits + drain + 10_000 / CONNECTIONS_CLOSED_PER_SECOND


def test_nodes_are_scaled_by_running_answers_and_go_one_at_a_time() -> None:
    """By the metric that there is, under the labels that Prometheus and its adapter have; each node moves people."""
    scaler, budget = found("HorizontalPodAutoscaler")["spec"], found("PodDisruptionBudget")["spec"]
    deployment = found("Deployment")["spec"]
    assert "replicas" not in deployment
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "askbot"}
    assert scaler["minReplicas"] >= 2
    metric = scaler["metrics"][0]["pods"]
    name = metric["metric"]["name"]
    assert f"| `{name}` | gauge |" in (ROOT / "docs/operations.md").read_text()
    assert int(metric["target"]["averageValue"]) < load(environ={}).max_turns
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter.yml").read_text())["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert rule["name"]["matches"] == f"^{name}$"
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus/kubernetes.yml").read_text())["scrape_configs"]
    made = {each.get("target_label") for each in job["relabel_configs"]}
    assert set(rule["resources"]["overrides"]) | {"instance"} <= made
    kept = next(each for each in job["relabel_configs"] if each.get("action") == "keep")
    _, container = pod("Deployment")
    assert kept["regex"] == f"{found('Deployment')['metadata']['name']};{container['ports'][0]['name']}"
    (policy,) = scaler["behavior"]["scaleDown"]["policies"]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]


def test_the_store_keeps_what_it_was_given_and_only_nodes_reach_it() -> None:
    """In an append-only file, on a volume; it refuses rather than forgets where its memory is full. Real servers do."""
    settings = dict(
        line.split(" ", 1) for line in found("ConfigMap", "askbot-valkey")["data"]["valkey.conf"].splitlines()
    )
    assert (settings["appendonly"], settings["maxmemory-policy"]) == ("yes", "noeviction")
    _, container = pod("StatefulSet", "askbot-valkey")
    assert {"name": "data", "mountPath": settings["dir"]} in container["volumeMounts"]
    assert container["args"][-2:] == ["--requirepass", "$(VALKEY_PASSWORD)"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 1024
    assert 2 * int(settings["maxmemory"].removesuffix("mb")) <= limit
    flags = [word for name, value in settings.items() if name != "dir" for word in (f"--{name}", value.strip('"'))]
    with redis_server(*flags) as server:
        assert server.command("CONFIG", "GET", "aof-load-truncated") == [b"aof-load-truncated", b"no"]
    policy = found("NetworkPolicy", "askbot-valkey")["spec"]
    assert policy["ingress"][0]["from"] == [{"podSelector": found("Deployment")["spec"]["selector"]}]
