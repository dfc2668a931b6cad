"""`loopwright up --registry`: an upgrade beside an old producer and an old consumer, and what is left of it after `down` and `up`."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from loopwright import schemas
from loopwright.edges.kafka import bootstrap_servers, read_all
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.processes import Processes
from loopwright.edges.platform.registry_server import NAME
from loopwright.edges.platform.services import Endpoints
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.waiting import wait_for
from loopwright.edges.registry import API, registry_url
from loopwright.message import read
from loopwright.settings import Registry, Settings, read_settings
from tests.e2e.demo_process import COMMAND, COMMAND_S, PLAIN, ROOT, START_S, STOP_S, free_port
from tests.registry_clients import OldConsumer, OldProducer, register_first
from tests.unit.sdr_team import LEAD

pytestmark = pytest.mark.timeout(3 * (START_S + STOP_S))
NOWHERE = "127.0.0.1:1"


class Platform:
    """A platform with a registry, by the command."""

    def __init__(self, home: Path) -> None:
        urls = {f"LOOPWRIGHT_{name}_URL": f"http://127.0.0.1:{free_port()}" for name in ("AGENTS", "GATEWAY")}
        self.home = home
        ways = {"LOOPWRIGHT_REGISTRY__WRITE": "json", "LOOPWRIGHT_PLATFORM__REGISTRY": "true"}
        self.env = PLAIN | urls | ways | {"LOOPWRIGHT_HOME": str(home)}
        self.old_ids: dict[str, int] = {}
        self.first_status: dict[str, Any] = {}

    def run(self, *args: str, stdin: bytes = b"") -> Any:
        command = [*COMMAND, *args, "--json"]
        done = subprocess.run(command, input=stdin, capture_output=True, env=self.env, cwd=ROOT, timeout=START_S, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return json.loads(done.stdout)

    @property
    def settings(self) -> Settings:
        """As a client of this platform has them."""
        here = Settings(home=self.home)
        return here.model_copy(update={"registry": Registry(url=registry_url(here), write="json")})


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Up, in a state folder whose registry holds what an old release had registered."""
    made = Platform(tmp_path_factory.mktemp("platform"))

    def old_release(endpoints: Endpoints) -> None:
        made.old_ids |= register_first(Settings(registry=Registry(url=endpoints.services[NAME] + API)))

    alone = StackConfig(made.home, read_settings().cache_dir(), dict(os.environ), NOWHERE, flink=None, supervisor=False)
    alone = replace(alone, registry=True, register=old_release)
    Stack(alone).up()
    Stack(alone).down()
    try:
        made.first_status = made.run("up")
        yield made
    finally:
        subprocess.run([*COMMAND, "down", "--wipe"], env=made.env, cwd=ROOT, timeout=COMMAND_S, check=False, capture_output=True)


def ids(platform: Platform) -> dict[str, tuple[int, int]]:
    """Id and version of every schema that the registry has of ours."""
    rows = platform.run("schemas", "list")["subjects"]
    assert {row["state"] for row in rows} == {"registered"}
    return {row["subject"]: (row["id"], row["version"]) for row in rows}


def test_the_registry_runs_beside_the_rest_with_our_schemas_as_the_next_versions(platform: Platform) -> None:
    assert platform.first_status["ok"]
    assert {s["name"]: s["state"] for s in platform.run("status")["services"]}[NAME] == "running"
    found = ids(platform)
    assert platform.old_ids
    assert all(found[name][1] == 2 and found[name][0] != number for name, number in platform.old_ids.items())
    assert {row["state"] for row in platform.run("schemas", "check")["checked"]} == {"registered"}


def test_an_old_producer_the_new_job_and_an_old_consumer_work_at_once(platform: Platform) -> None:
    settings = platform.settings
    brokers = bootstrap_servers(settings)
    producer, consumer = OldProducer(settings, brokers), OldConsumer(settings, brokers)
    producer.start("old-json", LEAD, "JSON", "acme")
    producer.start("old-avro", LEAD, "AVRO", "acme")
    (new,) = platform.run("send", "-", "--wait", stdin=json.dumps(LEAD).encode())
    names = {"old-json", "old-avro", new["workflow"]}
    found = consumer.decisions("JSON", lambda seen: {one["workflow"] for one in seen if one["outcome"] == "complete"} >= names)
    assert not any("tenant" in one for one in found)
    wanted = {(name, schemas.WORKFLOW_COMPLETED) for name in names}
    assert wait_for(lambda: {(m.workflow, m.type) for m in map(read, read_all(settings, [settings.topics.results]))} >= wanted, 30)
    assert platform.run("verify")["holds"]
    assert platform.run("trace", "old-avro")["status"] == "completed"


def test_a_registry_that_died_is_started_again_and_knows_every_id(platform: Platform) -> None:
    before = ids(platform)
    running = Processes(platform.home / "run").running(NAME)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)

    def back() -> bool:
        now = Processes(platform.home / "run").running(NAME)
        states = {s["name"]: s["state"] for s in json.loads(_status(platform))["services"]}
        return now is not None and now.pid != running.pid and states[NAME] == "running"

    assert wait_for(back, 60)
    assert ids(platform) == before


def _status(platform: Platform) -> bytes:
    return subprocess.run(
        [*COMMAND, "status", "--json"], env=platform.env, cwd=ROOT, timeout=COMMAND_S, check=False, capture_output=True
    ).stdout


def test_ids_and_records_survive_down_and_up(platform: Platform) -> None:
    before = ids(platform)
    platform.run("down")
    assert not [p for p in psutil.process_iter(["cmdline"]) if any(str(platform.home) in a for a in p.info["cmdline"] or [])]
    platform.run("up")
    assert ids(platform) == before
    settings = platform.settings
    OldProducer(settings, bootstrap_servers(settings)).start("again", LEAD, "AVRO", "acme")
    assert wait_for(lambda: "again" in {m.workflow for m in map(read, read_all(settings, [settings.topics.results]))}, 60)
