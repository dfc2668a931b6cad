"""A Flink cluster of somebody else's: the job is submitted to it, stopped, gone on from, upgraded, and set back where that fails.

Two TaskManagers that know nothing of Loopwright, and a Kafka elsewhere. In the tests' order: a TaskManager lives through them all.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.edges.platform import code
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.stack import Stack
from loopwright.settings import Kafka, Settings, read_settings
from loopwright.testing.agent_server import AgentServer
from tests.e2e.demo_process import COMMAND, PLAIN, install
from tests.e2e.workflows import Workflows, publish, sales_agents

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).resolve().parents[2]
COUNT = 20
COMMAND_S = 300
PAUSE_S = 0.3
REASON = "its input contract alone accepts the document"
ANEW = "as the next release says it"
BY_HAND = ["-Dpython.execution-mode=thread", "-Dexecution.checkpointing.interval=5s", "-Dexecution.buffer-timeout.interval=0ms"]


class Elsewhere(Workflows):
    """The cluster, the Kafka, the agents, and the command line."""

    def __init__(self, home: Path, agents: AgentServer) -> None:
        common = {"cache": read_settings().cache_dir(), "environment": PLAIN, "supervisor": False}
        self.kafka = Stack(StackConfig(home=home / "kafka", flink=None, folder=home, topics=(), **common))
        broker = self.kafka.endpoints.kafka
        flink = FlinkConfig(task_managers=2, slots=2, checkpoint_interval_ms=2000)
        self.cluster = Stack(StackConfig(home=home / "flink", kafka=broker, flink=flink, folder=home, **common))
        super().__init__(Settings(home=home / "own", kafka=Kafka(bootstrap_servers=broker), agents_url=agents.url), agents)

    @property
    def target(self) -> str:
        """Its JobManager, once it is up."""
        return self.cluster.rest.url.removeprefix("http://")

    def up(self) -> None:
        self.kafka.up()
        self.cluster.up()

    def down(self) -> None:
        Stack(self.cluster.config).down(wipe=True)
        Stack(self.kafka.config).down(wipe=True)

    def publish(self) -> None:
        publish(self.settings, self.agents.url)

    def run(self, command: str, *args: str, code: int = 0, root: Path = ROOT) -> dict[str, str]:
        """A command with the code at `root`; what it printed."""
        environment = PLAIN | {
            "PYTHONPATH": str(root),
            "LOOPWRIGHT_HOME": str(self.settings.home),
            "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": self.settings.kafka.bootstrap_servers,
            "LOOPWRIGHT_AGENTS_URL": self.agents.url,
        }
        asked = [*COMMAND, command, "--target", self.target, *args, "--json"]
        done = subprocess.run(asked, capture_output=True, env=environment, cwd=root, timeout=COMMAND_S, check=False)
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        return dict(json.loads(done.stdout))

    def reasons(self, workflows: set[str]) -> set[str]:
        """The reasons of the decisions about them."""
        return {m.data["reason"] for m in self.said(self.settings.topics.decisions) if m.workflow in workflows}

    def state(self) -> object:
        return self.cluster.rest.states()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    with sales_agents(PAUSE_S) as agents:
        made = Elsewhere(tmp_path_factory.mktemp("elsewhere"), agents)
        try:
            made.up()
            yield made
        finally:
            made.down()


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """A copy of the code in which a decision's reason is said otherwise."""
    copy = code.copied(tmp_path / "next")
    shutil.copytree(ROOT / "agents", copy / "agents")
    steps = copy / "loopwright" / "routing" / "steps.py"
    steps.write_text(steps.read_text().replace(REASON, ANEW))
    return copy


def own_python() -> list[str]:
    return ["--python", sys.executable]


def test_a_job_is_submitted_stopped_and_gone_on_from(elsewhere: Elsewhere) -> None:
    submitted = elsewhere.run("submit", *own_python(), "--parallelism", "2")
    elsewhere.publish()
    workflows = elsewhere.send("first", COUNT)
    elsewhere.some_end(workflows, 1)
    stopped = elsewhere.run("stop", "--savepoint")
    assert stopped["job"] == submitted["job"]
    resumed = elsewhere.run("submit", *own_python(), "--parallelism", "1", "--from-savepoint", stopped["savepoint"])
    assert resumed["job"] != submitted["job"]
    elsewhere.all_end(workflows)
    elsewhere.holds(workflows)


def test_a_second_job_on_the_same_topics_is_refused(elsewhere: Elsewhere) -> None:
    said = elsewhere.run("submit", *own_python(), code=1)
    assert said["error"] == "Conflict"
    assert "upgrade" in said["remedy"]


def test_an_upgrade_runs_the_new_code_in_taskmanagers_that_ran_the_old(elsewhere: Elsewhere, next_release: Path) -> None:
    under_way = elsewhere.send("across", COUNT)
    elsewhere.some_end(under_way, 1)
    upgraded = elsewhere.run("upgrade", root=next_release)
    elsewhere.all_end(under_way)
    after = elsewhere.send("after", COUNT)
    elsewhere.all_end(after)
    assert ANEW in elsewhere.reasons(after)
    assert REASON not in elsewhere.reasons(after)
    assert elsewhere.cluster.rest.jobs()[upgraded["job"]] == "RUNNING"
    elsewhere.holds(under_way | after)


def test_an_upgrade_that_does_not_run_well_is_rolled_back(elsewhere: Elsewhere, tmp_path: Path) -> None:
    broken = code.copied(tmp_path / "broken")
    loop = broken / "udfs" / "keyed_loop.py"
    loop.write_text(
        loop.read_text().replace("        detour_python_threads()\n", '        raise RuntimeError("this release is broken")\n', 1)
    )
    under_way = elsewhere.send("back", COUNT)
    said = elsewhere.run("upgrade", code=1, root=broken)
    assert said["what"] == "the upgrade was rolled back"
    assert "this release is broken" in said["why"]
    elsewhere.all_end(under_way)
    assert ANEW in elsewhere.reasons(under_way)
    elsewhere.holds(under_way)


def test_flink_run_by_hand_does_it_too(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.run("stop", "--no-savepoint")
    sent, flink = code.zipped(None, tmp_path / "loopwright.zip"), elsewhere.cluster.flink()
    environment = flink.programs.environment() | {
        "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": elsewhere.settings.kafka.bootstrap_servers,
        "PYTHONPATH": str(ROOT),
        "FLINK_CONF_DIR": str(flink.home.folder / "conf"),
    }
    asked = [flink.home.folder / "bin" / "flink", "run", "-d", "-m", elsewhere.target, "-p", "2", *BY_HAND]
    asked += ["-pyclientexec", sys.executable, "-pyexec", sys.executable, "-pyfs", sent, "-py", ROOT / "jobs" / "orchestrator.py"]
    done = subprocess.run(list(map(str, asked)), env=environment, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    workflows = elsewhere.send("by-hand", COUNT)
    elsewhere.all_end(workflows)
    assert elsewhere.run("stop", "--no-savepoint")["savepoint"] is None


def test_a_wheel_sends_workers_that_have_no_python_one(elsewhere: Elsewhere, tmp_path: Path) -> None:
    install(tmp_path / "wheels", tmp_path / "site")
    elsewhere.run("submit", "--parallelism", "2", root=tmp_path / "site")
    workflows = elsewhere.send("processes", COUNT)
    elsewhere.all_end(workflows)
    elsewhere.holds(workflows)
    assert elsewhere.run("stop", "--no-savepoint")["savepoint"] is None
    assert elsewhere.run("stop", code=1)["error"] == "NotFound"


def test_a_python_that_is_sent_runs_inside_taskmanagers_that_were_started_for_it(elsewhere: Elsewhere) -> None:
    elsewhere.cluster.down()
    Stack(elsewhere.cluster.config).up()
    elsewhere.run("submit", "--mode", "thread", "--parallelism", "2")
    workflows = elsewhere.send("threads", COUNT)
    elsewhere.all_end(workflows)
    elsewhere.holds(workflows)
