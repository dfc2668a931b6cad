"""What the Flink and the end-to-end tests share: a real Kafka broker and a real schema registry, without a Java on the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from loopwright.edges.kafka import ensure_topics
from loopwright.edges.platform.broker import Broker
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import NEWEST, find_java
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.processes import Processes
from loopwright.edges.platform.registry_server import RegistryServer
from loopwright.edges.registry import API
from loopwright.edges.topics import topic_specs
from loopwright.settings import Kafka, Settings, Topics, read_settings

hypothesis.settings.register_profile("busy", deadline=None)  # an example may take its time on a machine that does much else
hypothesis.settings.load_profile("busy")


@pytest.fixture(scope="session")
def jars() -> Jars:
    """The jars of the lock file, fetched once per machine."""
    found = Jars(read_settings().cache_dir())
    found.sync()
    return found


@pytest.fixture(scope="session")
def broker(jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own for the session: its host:port."""
    layout = Layout.at(tmp_path_factory.mktemp("kafka"))
    layout.make()
    processes, ports = Processes(layout.run), Ports(layout.run / "ports.json")
    node = Broker(layout, find_java({}, bundled_only=True), jars.paths("kafka"), processes, ports, dict(os.environ))
    node.start()
    try:
        yield node.wait_ready(60).url
    finally:
        node.stop()


@pytest.fixture(scope="session")
def schema_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A schema registry of its own for the session: the address of its API."""
    layout, jars = Layout.at(tmp_path_factory.mktemp("registry")), Jars(read_settings().cache_dir())
    layout.make()
    jars.sync(on_demand=["registry"])
    processes, ports = Processes(layout.run), Ports(layout.run / "ports.json")
    java = find_java({}, bundled_only=True, suitable=NEWEST)
    server = RegistryServer(layout, java, jars.unpacked("registry"), processes, ports, dict(os.environ))
    server.start()
    try:
        yield server.wait_ready(90) + API
    finally:
        server.stop()


@pytest.fixture
def kafka(broker: str, request: pytest.FixtureRequest) -> Settings:
    """Settings with fresh topics of the test's own on the session's broker."""
    mark = f"{abs(hash(request.node.nodeid)):x}"
    names = {name: f"{info.default}-{mark}" for name, info in Topics.model_fields.items()}
    settings = Settings(kafka=Kafka(bootstrap_servers=broker), topics=Topics(**names))
    ensure_topics(settings, topic_specs(settings))
    return settings


ROOT = Path(__file__).resolve().parents[1]
