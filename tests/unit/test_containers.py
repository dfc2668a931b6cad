"""The files in docker/: what reads them finds nothing wrong with them, and they say what the code says. Nothing is started."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loopwright.cli.stack import MODULES
from loopwright.edges.platform import connect
from loopwright.edges.platform.broker import node_settings
from loopwright.settings import described

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
STEPS = (DOCKER / "build-steps.sh").read_text()
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
ENTRYPOINT = (DOCKER / "entrypoint.sh").read_text()
SETTINGS = {variable for variable, _, _ in described()} | {"LOOPWRIGHT_SETTINGS_DIR"}
OURS = "flink_taskmanager_job_task_operator_loopwright_"


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program that was installed beside Python, in an environment without variables of its own."""
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True, cwd=ROOT, env=bare, check=False, timeout=60
    )


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker/compose.yaml as Docker Compose understands it."""
    said = tool("docker-compose", "-f", "docker/compose.yaml", "config", "--format", "json")
    assert said.returncode == 0, said.stderr
    assert "warn" not in said.stderr.lower(), said.stderr
    return json.loads(said.stdout)


def locked(file: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by package."""
    found = {}
    for entry in re.split(r"\n(?=[a-z0-9])", file.read_text()):
        if match := re.match(r"([a-z0-9_.-]+)==(\S+)", entry):
            found[match[1]] = match[2], frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry))
    return found


def test_the_image_s_packages_are_those_that_are_tested_and_all_that_the_product_needs() -> None:
    image, tested = locked(DOCKER / "requirements.lock"), locked(ROOT / "requirements.lock")
    assert {name: image[name] for name in image if image[name] != tested.get(name)} == {}
    assert all(hashes for _, hashes in image.values())
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.match(r"[a-z0-9-]+", name)[0] for name in wanted} <= image.keys()
    assert not image.keys() & {"pytest", "ruff", "mypy", "xllamacpp"}


def test_one_uv_builds_the_image_and_the_environment() -> None:
    versions = {re.search(r"^UV_VERSION\s*:?=\s*(\S+)", text, re.MULTILINE)[1] for text in (STEPS, (ROOT / "Makefile").read_text())}
    assert len(versions) == 1


def test_the_dockerfile_has_no_findings() -> None:
    said = tool("hadolint", "--failure-threshold", "warning", "--no-color", "docker/Dockerfile")
    assert said.returncode == 0, said.stdout + said.stderr
    assert not re.search(r"DL\d+ (warning|error)", said.stdout)


def test_the_dockerfile_runs_every_step_and_no_command_beside_them() -> None:
    known = re.findall(r"^    ([a-z-]+)\)$", STEPS, re.MULTILINE)
    runs = re.findall(r"^RUN (.*)$", DOCKERFILE, re.MULTILINE)
    called = [
        re.fullmatch(r'(?:--mount=\S+ )?(?:S3="\$\{S3\}" )?sh /source/docker/build-steps\.sh ([a-z-]+)(?: /source)?', run) for run in runs
    ]
    assert all(called), runs
    assert sorted(match[1] for match in called if match) == sorted(known)


def test_what_the_image_is_made_of_is_sent_to_the_builder() -> None:
    sent = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [path for path in sent if not (ROOT / path).exists()] == []
    named = set(re.findall(r"\$1/(\S+?)[\"\s]", STEPS)) | {"hatch_build.py", "pyproject.toml", "README.md", "LICENSE"}
    bundled = re.search(r"BUNDLED = \((.*)\)", (ROOT / "hatch_build.py").read_text())[1]
    named |= {"loopwright", *re.findall(r'"(\w+)"', bundled)}
    assert named <= {*sent, "docker/build-steps.sh"}


@pytest.mark.parametrize("script", ["build-steps.sh", "entrypoint.sh"])
def test_a_script_is_one_and_may_be_run(script: str) -> None:
    assert os.access(DOCKER / script, os.X_OK)
    assert subprocess.run(["sh", "-n", DOCKER / script], check=False).returncode == 0


def test_the_entry_point_starts_what_the_local_platform_starts() -> None:
    for module in MODULES.values():
        assert f"-m {module} " in ENTRYPOINT or module == connect.__name__  # Kafka Connect has images of its own


def ours(compose: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, service) for name, service in compose["services"].items() if service["image"] == "loopwright")


def test_compose_starts_everything_each_with_a_health_check_or_once(compose: dict[str, Any]) -> None:
    assert compose["services"].keys() == {
        *("kafka", "prepare", "jobmanager", "taskmanager", "submit", "agents", "gateway", "prometheus", "grafana"),
    }
    once = {name for name, service in compose["services"].items() if "healthcheck" not in service}
    assert once == {"prepare", "submit"}
    assert compose["services"]["taskmanager"]["deploy"]["replicas"] == 2
    for service in compose["services"].values():
        for name, wanted in service.get("depends_on", {}).items():
            assert (wanted["condition"] == "service_completed_successfully") == (name in once)


def test_compose_s_own_services_are_words_of_the_entry_point_or_commands_that_there_are(compose: dict[str, Any]) -> None:
    words = re.findall(r"^    ([a-z-]+)\)$", ENTRYPOINT, re.MULTILINE)
    for name, service in ours(compose):
        assert service["command"][0] in (*words, "sh"), name
    for text in re.findall(r"loopwright ([a-z ]+)", " ".join(compose["services"]["prepare"]["command"])):
        assert text.strip() in ("keys callbacks", "topics apply", "agents apply")


def test_compose_s_own_services_run_without_rights_and_write_to_volumes_alone(compose: dict[str, Any]) -> None:
    for name, service in ours(compose):
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


def test_what_compose_sets_are_settings(compose: dict[str, Any]) -> None:
    for name, service in ours(compose):
        set_here = {variable for variable in service["environment"] if variable.startswith("LOOPWRIGHT_")}
        assert set_here <= SETTINGS, name


def test_compose_shows_itself_to_this_machine_alone(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_compose_mounts_what_is_there_and_names_volumes_that_there_are(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), name
            elif volume.get("source"):
                assert volume["source"] in compose["volumes"], name
    folders = re.search(r"for folder in (.*); do", STEPS)[1].replace("$DATA", "/var/lib/loopwright").replace('"', "").split()
    mounted = {v["target"] for _, service in ours(compose) for v in service.get("volumes", []) if v.get("source")}
    assert mounted <= set(folders), "a volume on a folder that the image does not have would belong to root"


def test_compose_s_kafka_is_set_up_as_the_local_platform_s(compose: dict[str, Any]) -> None:
    given = {
        variable.removeprefix("KAFKA_").lower().replace("_", "."): value
        for variable, value in compose["services"]["kafka"]["environment"].items()
        if variable.startswith("KAFKA_")
    }
    local = node_settings(9092, 9093, Path("/var/lib/kafka/data"))
    differing = {name for name in given.keys() & local.keys() if given[name] != local[name]}
    assert differing == {"listeners", "advertised.listeners", "controller.quorum.voters"}
    assert {name for name in local if "replication" in name or "isr" in name or name.endswith("max.bytes")} <= given.keys()


def test_the_image_s_flink_finds_the_services_of_compose_and_leaves_python_room_beside_the_heap(compose: dict[str, Any]) -> None:
    from loopwright.edges.platform.image import image_options

    said = image_options(())
    assert {said["jobmanager.rpc.address"], said["rest.address"]} <= compose["services"].keys()
    sizes = {
        name: int(value.removesuffix("m")) for name, value in said.items() if name.startswith("taskmanager.memory") and value.endswith("m")
    }
    parts = sum(sizes[f"taskmanager.memory.{part}"] for part in ("managed.size", "jvm-metaspace.size", "jvm-overhead.max"))
    assert sizes["taskmanager.memory.process.size"] - parts > 512
    assert sizes["taskmanager.memory.jvm-overhead.max"] > 512


def test_prometheus_scrapes_what_compose_starts_at_the_reporter_s_port(compose: dict[str, Any]) -> None:
    from loopwright.edges.platform.image import PROMETHEUS

    (scraped,) = yaml.safe_load((DOCKER / "prometheus.yaml").read_text())["scrape_configs"]
    (found,) = scraped["dns_sd_configs"]
    assert set(found["names"]) <= compose["services"].keys()
    assert PROMETHEUS["metrics.reporter.prom.port"].startswith(f"{found['port']}-")


def dashboard() -> dict[str, Any]:
    return json.loads((DOCKER / "grafana" / "dashboards" / "loopwright.json").read_text())


def test_the_dashboard_is_provisioned_and_asks_the_source_that_is() -> None:
    provisioned = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioned / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "loopwright.yaml").read_text())["providers"]
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["volumes"]
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {source["uid"]}
    assert all(panel["title"] for panel in panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard()["panels"]]
    assert len(set(places)) == len(places)


def test_every_counter_on_the_dashboard_is_one_of_the_code() -> None:
    source = "\n".join(
        file.read_text() for folder in ("routing", "dispatch", "workflow") for file in sorted((ROOT / "loopwright" / folder).glob("*.py"))
    )
    source += (ROOT / "udfs" / "keyed_loop.py").read_text()
    counters = set(re.findall(rf"{OURS}(\w+)", json.dumps(dashboard())))
    assert len(counters) > 15
    for name in counters:
        said = name.removeprefix("decided_")
        assert f'"{said}"' in source or f'"{said.replace("_", "-")}"' in source, name
