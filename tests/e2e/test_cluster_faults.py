"""The job on a standalone cluster, and what happens to clusters: no room for checkpoints, another size, a TaskManager that is frozen.

One platform for all tests, in their order; agents that honour Idempotency-Key are in this process and are the witness of effects.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink import task_manager
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.services import Endpoints
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import job_status
from loopwright.edges.platform.waiting import wait_for
from loopwright.edges.topics import topic_specs
from loopwright.settings import Kafka, Settings, read_settings
from loopwright.testing.agent_server import AgentServer
from tests.e2e.workflows import PATIENCE_S, Workflows, publish, sales_agents

pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).resolve().parents[2]
COUNT = 200
FROZEN_S = 60
PAUSE_S = 1.0  # of each call: two hundred workflows take about a minute


class Works(Workflows):
    """The platform, the agents, and what a test asks of them."""

    def __init__(self, home: Path, agents: AgentServer) -> None:
        broker = f"127.0.0.1:{Ports(home / 'run' / 'ports.json').settle('kafka', False)}"
        super().__init__(Settings(home=home, kafka=Kafka(bootstrap_servers=broker), agents_url=agents.url), agents)
        self.config = StackConfig(
            home=home,
            cache=read_settings().cache_dir(),
            environment={name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")},
            topics=tuple(topic_specs(self.settings)),
            flink=FlinkConfig(checkpoint_interval_ms=2000),
            job=Job(ROOT / "jobs" / "orchestrator.py"),
            variables=self._variables,
            publish=self._publish,
            python_paths=(ROOT,),
            folder=home,
            supervisor=False,
        )
        self.stack = Stack(self.config)

    def _variables(self, endpoints: Endpoints) -> Mapping[str, str]:
        return {"LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": endpoints.kafka, "LOOPWRIGHT_AGENTS_URL": self.agents.url}

    def _publish(self, _endpoints: Endpoints) -> None:
        publish(self.settings, self.agents.url)

    def state(self) -> object:
        return job_status(self.stack)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    with sales_agents(PAUSE_S) as agents:
        made = Works(tmp_path_factory.mktemp("cluster"), agents)
        try:
            made.stack.up()
            yield made
        finally:
            Stack(made.config).down(wipe=True)


@contextmanager
def without_room(folder: Path) -> Iterator[str]:
    """A file system with no room left, mounted over `folder`; where that is not allowed, as `not_a_folder`. Gives which it is."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False, capture_output=True).returncode == 0
    if not mounted:
        with not_a_folder(folder) as said:
            yield said
        return
    try:
        with pytest.raises(OSError, match="No space left"):
            (folder / "full").write_bytes(b"x" * 100_000)
        yield "a full disk"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def not_a_folder(folder: Path) -> Iterator[str]:
    """A file in the place of `folder`: nothing can be written below it, by root neither."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.touch()
    try:
        yield "a file in its place"
    finally:
        folder.unlink()
        aside.rename(folder)


@pytest.mark.parametrize("unusable", [without_room, not_a_folder])
def test_while_checkpoints_have_no_place_the_job_goes_on_and_says_so(works: Works, unusable: Any, record_property: Any) -> None:
    assert wait_for(lambda: job_status(works.stack).checkpoint, 60)
    before = job_status(works.stack)
    with unusable(works.stack.layout.checkpoints) as how:
        record_property("unusable", how)
        assert wait_for(lambda: job_status(works.stack).checkpoint_failing, 60), job_status(works.stack)
        workflows = works.send(unusable.__name__, 20)
        works.all_end(workflows)
        now = job_status(works.stack)
        assert (now.state, now.id, now.restarts, now.checkpoint_failing) == ("RUNNING", before.id, before.restarts, True)
    assert wait_for(lambda: not job_status(works.stack).checkpoint_failing, 60), job_status(works.stack)
    assert Path(str(job_status(works.stack).checkpoint).removeprefix("file:")).is_dir()
    works.holds(workflows)


def test_a_job_that_is_given_a_second_slot_under_load_goes_on_where_it_was(works: Works) -> None:
    workflows = works.send("rescaled", COUNT)
    works.some_end(workflows, 1)
    savepoint = works.stack.jobs.stop(120)
    assert savepoint is not None, "it was stopped without a savepoint"
    at_the_stop = len(works.ended().keys() & workflows)
    assert at_the_stop < COUNT, "the stop came too late to show anything"
    works.config = replace(works.config, flink=replace(works.config.flink or FlinkConfig(), parallelism=2))
    works.stack = Stack(works.config)
    works.stack.up()
    works.all_end(workflows)
    job = job_status(works.stack)
    assert {v["parallelism"] for v in works.stack.rest._call("GET", f"/jobs/{job.id}")["vertices"]} >= {2}
    works.holds(workflows)


def test_a_taskmanager_that_was_frozen_for_a_minute_does_nothing_twice_when_it_wakes(works: Works) -> None:
    """A second TaskManager takes over; the first wakes up with calls and records of its own in hand."""
    works.config = replace(works.config, flink=replace(works.config.flink or FlinkConfig(), task_managers=2))
    works.stack = Stack(works.config)
    assert works.stack.flink().start() == [task_manager(2)]
    assert wait_for(lambda: task_manager(2) in works.stack.flink().registered(), 90)
    zombie = works.stack.processes.running(task_manager(1))
    assert zombie is not None
    called = len(works.agents.calls("lead-ingestion"))
    workflows = works.send("frozen", COUNT)
    under_way = wait_for(lambda: len(works.agents.calls("lead-ingestion")) > called + COUNT // 4, PATIENCE_S)
    assert under_way, job_status(works.stack)
    os.kill(zombie.pid, signal.SIGSTOP)
    try:
        frozen_at = time.monotonic()
        at_the_stop = len(works.ended().keys() & workflows)
        assert at_the_stop < COUNT, "it was frozen too late to show anything"
        works.all_end(workflows)
        wait_for(lambda: time.monotonic() - frozen_at > FROZEN_S, FROZEN_S)
    finally:
        os.kill(zombie.pid, signal.SIGCONT)
    assert wait_for(lambda: task_manager(1) in works.stack.flink().registered(), 90), "it did not come back"
    works.all_end(works.send("after", 10))
    works.holds(workflows)
