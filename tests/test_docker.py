"""The container files. No engine is at hand in the tests, so they are parsed and compared with what they name."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]  # it has no types

from askbot_ws.config import FIELD_OF_VARIABLE, load
from askbot_ws.upstream.weights import ENGINE_REQUIREMENT, WEIGHTS_REQUIREMENT

from .redis_server import redis_server

ROOT = Path(__file__).parents[1]


@pytest.fixture
def steps(tmp_path: Path) -> list[tuple[str, str]]:
    """The Dockerfile's instructions."""
    copy = tmp_path / "Dockerfile"  # the parser writes beside what it reads
    copy.write_text((ROOT / "Dockerfile").read_text())
    parsed: Any = DockerfileParser(path=str(tmp_path)).structure
    return [(step["instruction"], step["value"]) for step in parsed if step["instruction"] != "COMMENT"]


def stage(steps: list[tuple[str, str]], name: str | None = None) -> list[tuple[str, str]]:
    """The instructions of a stage; without a name, of the last one."""
    begins = [number for number, (instruction, _) in enumerate(steps) if instruction == "FROM"]
    begin = begins[-1] if name is None else next(n for n in begins if steps[n][1].endswith(f" AS {name}"))
    return steps[begin : next((each for each in begins if each > begin), None)]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


# --- the image -------------------------------------------------------------------------------------------------------


def test_what_the_image_copies_is_there(steps: list[tuple[str, str]]) -> None:
    """A build must not fail for a file that was moved."""
    copied = [shlex.split(value) for instruction, value in steps if instruction == "COPY"]
    sources = [name for parts in copied if not parts[0].startswith("--from=") for name in parts[:-1]]

    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_dependencies_are_a_layer_that_no_change_of_the_source_builds_again(steps: list[tuple[str, str]]) -> None:
    """They are copied from a stage that has seen the versions only; downloads are kept between builds."""
    (copied,) = [value.split() for instruction, value in stage(steps, "dependencies") if instruction == "COPY"]
    assert copied == ["pyproject.toml", "constraints.txt", "src/askbot_ws/upstream/weights.py", "./"]
    installs = [value for instruction, value in steps if instruction == "RUN" and "pip install --constraint" in value]
    assert len(installs) == 2
    assert all("--mount=type=cache,target=/root/.cache/pip" in value for value in installs)
    assert "--from=dependencies /opt/askbot /opt/askbot" in [value for step, value in stage(steps) if step == "COPY"]


def test_the_layer_of_dependencies_reads_their_names_where_they_stand() -> None:
    """By the very commands of the file."""
    text = (ROOT / "Dockerfile").read_text()
    commands = re.findall(r"(sed -n '.*?') weights\.py", text)
    source = str(ROOT / "src/askbot_ws/upstream/weights.py")
    found = [
        subprocess.run([*shlex.split(each), source], capture_output=True, text=True, check=True).stdout
        for each in commands
    ]
    assert found == [f"{ENGINE_REQUIREMENT}\n", f"{WEIGHTS_REQUIREMENT}\n"]
    program = re.findall(r'python -c "(import tomllib.*?)" >', text, re.DOTALL)[0].replace("\\\n", "")  # as sh has it
    listed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert "websockets>=17,<18" in listed.splitlines()
    assert "redis[hiredis]>=8,<9" in listed.splitlines()


def test_the_image_does_not_run_as_root_and_has_nothing_of_the_build(steps: list[tuple[str, str]]) -> None:
    """Whatever is found in a native library must not own the container."""
    last = stage(steps)
    assert [value for instruction, value in last if instruction == "USER"] == ["askbot"]
    assert [value for instruction, value in last if instruction == "STOPSIGNAL"] == ["SIGTERM"]
    assert {value.split()[0] for instruction, value in last if instruction == "COPY"} == {"--from=dependencies"}


def test_the_image_says_whether_it_lives(steps: list[tuple[str, str]]) -> None:
    """By `/healthz`: a server whose provider is away must not be killed for it."""
    (check,) = [value for instruction, value in stage(steps) if instruction == "HEALTHCHECK"]
    assert re.findall(r":8765(/\w+)", check) == ["/healthz"]


# --- compose ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "store"), [("askbot", "sqlite:////data/askbot.db"), ("node", "redis://valkey:6379")])
def test_the_image_and_compose_set_what_the_server_takes(steps: list[tuple[str, str]], name: str, store: str) -> None:
    """Together they make a valid configuration: the server starts with it."""
    image = dict(
        part.split("=", 1) for instruction, value in stage(steps) if instruction == "ENV" for part in shlex.split(value)
    )
    image = {name: value for name, value in image.items() if name.startswith("ASKBOT_")}
    given = compose()["services"][name]["environment"]
    environ = image | {each: re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value)) for each, value in given.items()}

    settings = load(environ=environ)

    assert set(environ) <= set(FIELD_OF_VARIABLE)
    assert settings.host == "0.0.0.0"
    assert settings.store == store


def test_compose_is_what_its_schema_says() -> None:
    """An engine refuses a file for one key that it does not know."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [*check, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", sorted(compose()["services"]))
def test_no_service_of_compose_can_do_more_than_it_has_to(name: str) -> None:
    """On this machine only; no capabilities, a root that can't be written, bounds for memory, processes and logs."""
    service = compose()["services"][name]

    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert service["pids_limit"] <= 256
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert "privileged" not in service
    assert "cap_add" not in service


def test_compose_keeps_data_in_volumes_and_mounts_files_that_are_there() -> None:
    """An engine makes a folder of a file that is missing."""
    composed = compose()
    for service in composed["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                assert volume.endswith(":ro")
            else:
                assert source in composed["volumes"]


def test_monitoring_is_a_profile_and_reads_metrics_with_a_key() -> None:
    """Prometheus scrapes the server under its name in compose, and Grafana reads Prometheus."""
    composed = compose()
    services = composed["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["monitoring"]} == {
        "prometheus",
        "grafana",
    }
    scraping = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = scraping["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert discovery == {"names": ["askbot", "node"], "type": "A", "port": 8765}
    assert all(services[name]["build"] == "." for name in discovery["names"])
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{services['prometheus']['secrets'][0]}"
    mounted = [volume.split(":")[1] for volume in services["prometheus"]["volumes"]]
    assert set(scraping["rule_files"]) <= set(mounted)
    assert composed["secrets"]["metrics_key"]["file"].endswith(":-./metrics.key}")
    assert "/metrics.key" in (ROOT / ".gitignore").read_text().splitlines()

    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/askbot.yml").read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/askbot.json" in mounted


@pytest.mark.parametrize("name", ["askbot", "node"])
def test_the_grace_period_is_longer_than_the_drain(name: str) -> None:
    """Else answers are cut that would have been let run."""
    grace = float(compose()["services"][name]["stop_grace_period"].removesuffix("s"))

    assert grace > load(environ={}).drain


def test_the_balancer_lets_no_client_say_who_it_is() -> None:
    """Nodes believe Docker's networks, from which clients of the published port come too."""
    configuration = (ROOT / "deploy/nginx-cluster.conf").read_text()

    assert "proxy_set_header X-Forwarded-For $remote_addr;" in configuration
    assert "$proxy_add_x_forwarded_for" not in configuration


def test_a_cluster_is_two_nodes_with_one_store_behind_a_balancer() -> None:
    """Nodes are reached through the balancer only, and the store by nodes only; each starts when what it needs runs."""
    composed = compose()
    services = composed["services"]
    cluster = {name for name, service in services.items() if service.get("profiles") == ["cluster"]}
    assert cluster == {"node", "valkey", "balancer"}
    assert services["node"]["scale"] == 2
    assert [name for name in cluster if "ports" in services[name]] == ["balancer"]
    assert [name for name in services if "store" in services[name].get("networks", ())] == ["node", "valkey"]
    assert composed["networks"]["store"] == {"internal": True}
    assert services["node"]["environment"]["ASKBOT_STORE"] == "redis://valkey:6379"
    for name, needed in (("balancer", "node"), ("node", "valkey")):
        assert services[name]["depends_on"] == {needed: {"condition": "service_healthy"}}
    assert "/deploy/nginx-cluster.conf:/etc/nginx/nginx.conf:" in str(services["balancer"]["volumes"])
    assert "server node:8765 resolve;" in (ROOT / "deploy/nginx-cluster.conf").read_text()


def test_the_store_of_a_cluster_keeps_what_it_was_given() -> None:
    """In an append-only file, in a volume; it refuses rather than forgets where its memory is full. Real servers do."""
    valkey = compose()["services"]["valkey"]
    words = iter(shlex.split(valkey["command"])[1:])
    options = {name.removeprefix("--"): value for name, value in zip(words, words, strict=True)}
    assert options["appendonly"] == "yes"
    assert options["maxmemory-policy"] == "noeviction"
    assert valkey["volumes"] == ["valkey-data:/data"]
    assert valkey["user"] != "0"
    megabytes = int(options["maxmemory"].removesuffix("mb"))
    assert 2 * megabytes <= 1024 * int(valkey["mem_limit"].removesuffix("g"))
    with redis_server(*shlex.split(valkey["command"])[1:]) as server:
        assert server.command("CONFIG", "GET", "aof-load-truncated") == [b"aof-load-truncated", b"no"]
