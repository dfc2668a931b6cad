"""The image, for real as far as that goes without a container engine: docker/Dockerfile is run in a bare Debian, step by step, and what
comes out of it runs docker/compose.yaml, and the job of docker/kubernetes. About five minutes; a gigabyte from the package mirrors where
this machine has nothing in its caches."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from tests.e2e.debian_root import make_root, unavailable
from tests.e2e.dockerfile_here import Builder, Stage, send

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
SCENARIO_S, ALL_S = 900, 1800
WHY_NOT = unavailable()
pytestmark = [pytest.mark.timeout(ALL_S), pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be had")]
# names of metrics that are there when something was counted for the first time, and not before
SELDOM = re.compile(r"loopwright_(?!calls$|replies$|decided_only_candidate$)\w+")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The image's last stage, built."""
    work = tmp_path_factory.mktemp("image")
    uv = subprocess.run([Path(sys.executable).with_name("uv"), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    Path(uv).mkdir(parents=True, exist_ok=True)
    try:
        make_root(work / "debian", work)
        send(ROOT, DOCKER / "Dockerfile.dockerignore", work / "sent")
        # compiling every module, and a hundred megabytes for an object store: time that shows nothing
        quick = {"UV_COMPILE_BYTECODE": "0", "S3": ""}
        yield Builder(work / "debian", work / "sent", work, {"/root/.cache/uv": Path(uv)}, quick).build(DOCKER / "Dockerfile")
    finally:
        shutil.rmtree(work)


@pytest.fixture(scope="module")
def answers(image: Stage, jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of it, see `image_scenario`."""
    work = tmp_path_factory.mktemp("compose")
    asked = ["docker-compose", "-f", "docker/compose.yaml", "config", "--format", "json"]
    said = subprocess.run(
        [Path(sys.executable).with_name(asked[0]), *asked[1:]], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    file = work / "scenario.json"
    told = {
        "image": asdict(image) | {"root": str(image.root)},
        "compose": json.loads(said),
        "work": str(work),
        "java": str(find_java({}, bundled_only=True).executable),
        "jars": list(map(str, jars.paths("kafka"))),
        "answers": str(work / "answers.json"),
    }
    file.write_text(json.dumps(told))
    alone = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*alone, sys.executable, "-m", "tests.e2e.image_scenario", str(file)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=SCENARIO_S)
    assert done.returncode == 0, done.stdout[-12_000:]
    return json.loads(Path(told["answers"]).read_text())


def test_the_image_has_its_user_and_no_tools_of_the_build(image: Stage) -> None:
    assert image.user == "10001:10001"
    assert image.entrypoint == ["/docker-entrypoint.sh"]
    assert not (image.root / "opt" / "build").exists()
    assert not (image.root / "source").is_dir() or not any((image.root / "source").iterdir())
    assert (image.root / "opt" / "flink" / "plugins" / "metrics-prometheus").is_dir()


def test_compose_works_a_lead_on_a_file_system_that_is_not_written_to(answers: dict[str, Any]) -> None:
    found = answers["compose"]
    assert "afresh" in found["first"]
    assert '"completed"' in found["lead"]


def test_a_secret_that_root_hands_to_the_group_is_read_by_the_image_s_user(answers: dict[str, Any]) -> None:
    assert answers["compose"]["secrets"] == "0o600", "as it is made; the lead was worked with it as root:10001 0440"


def test_a_second_submission_changes_nothing(answers: dict[str, Any]) -> None:
    assert "runs already" in answers["compose"]["again"]


def test_after_a_crash_of_the_cluster_submit_resumes_from_the_newest_checkpoint(answers: dict[str, Any]) -> None:
    found = answers["compose"]
    assert re.search(r"from file:///var/lib/loopwright/data/checkpoints/\w+/chk-\d+", found["resumed"])
    assert '"completed"' in found["second lead"]


def test_the_dashboard_asks_for_what_flink_tells(answers: dict[str, Any]) -> None:
    panels = json.loads((DOCKER / "grafana" / "dashboards" / "loopwright.json").read_text())["panels"]
    asked = {name for panel in panels for target in panel.get("targets", ()) for name in re.findall(r"flink_\w+", target["expr"])}
    told = set(re.findall(r"^(flink_\w+)", answers["compose"]["metrics"], re.MULTILINE))
    assert {name for name in asked - told if not SELDOM.search(name)} == set()


def test_the_job_of_the_kubernetes_files_runs_as_an_application_and_takes_up_a_further_taskmanager(answers: dict[str, Any]) -> None:
    found = answers["kubernetes"]
    assert '"completed"' in found["lead"]
    assert '"completed"' in found["second lead"]
