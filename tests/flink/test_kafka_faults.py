"""The job when Kafka fails it: a broker that is away for long, a topic that takes no records, partitions that are added under load."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from loopwright.cli.logs import topics_of
from loopwright.deadletter import original_bytes
from loopwright.edges.kafka import Producer, client_config, ensure_topics, read_all
from loopwright.edges.kafka import topics as listed
from loopwright.edges.platform.broker import Broker
from loopwright.edges.platform.flink_config import FlinkConfig, options
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.processes import Processes
from loopwright.edges.topics import topic_specs
from loopwright.errors import LoopwrightError, Unreachable
from loopwright.settings import Kafka, Settings
from loopwright.testing.agent_behaviours import answering, slow
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, ROOT, Orchestra, start_of
from tests.unit.sdr_team import LEAD, OUTPUTS

pytestmark = [pytest.mark.timeout(500), pytest.mark.own_cluster]
COUNT = 40
IMPATIENT = {"delivery.timeout.ms": "10000", "request.timeout.ms": "5000"}
CLI = [sys.executable, "-c", "from loopwright.cli.main import main; main()"]


def restarting(layout: Layout) -> dict[str, str]:
    """How the platform's job restarts."""
    found = options(FlinkConfig(), layout, 1, 2, Path(sys.executable))
    return {name: value for name, value in found.items() if name.startswith("restart-strategy")}


class OwnBroker:
    """A broker that one test may stop and go on with."""

    def __init__(self, home: Path, jars: Jars) -> None:
        self.layout = Layout.at(home)
        self.layout.make()
        self.processes = Processes(self.layout.run)
        ports = Ports(self.layout.run / "ports.json")
        self.node = Broker(self.layout, find_java({}, bundled_only=True), jars.paths("kafka"), self.processes, ports, dict(os.environ))
        self.node.start()
        self.started = self.node.wait_ready(60)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Its process is stopped: connections stay open, nothing answers."""
        os.kill(self.started.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.started.pid, signal.SIGCONT)


@pytest.fixture
def own_broker(tmp_path: Path, jars: Jars) -> Iterator[OwnBroker]:
    found = OwnBroker(tmp_path / "kafka", jars)
    yield found
    found.node.stop()


def loopwright(settings: Settings, *args: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """The command line, with these settings for Kafka."""
    own = {
        "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "LOOPWRIGHT_KAFKA__CLIENT": json.dumps(settings.kafka.client),
    }
    return subprocess.run([*CLI, *args], input=stdin, env=os.environ | own, cwd=ROOT, capture_output=True, timeout=60, check=False)


def test_a_broker_that_is_away_past_the_delivery_timeout_costs_time_and_nothing_else(orchestra: Orchestra, own_broker: OwnBroker) -> None:
    orchestra.settings = Settings(kafka=Kafka(bootstrap_servers=own_broker.started.url, client=IMPATIENT))
    ensure_topics(orchestra.settings, topic_specs(orchestra.settings))
    orchestra.producer = Producer(orchestra.settings)
    for name, output in OUTPUTS.items():
        orchestra.agents.agent(name, slow(2.0, answering(output)))
    orchestra.define(*orchestra.team())
    orchestra.run(more=restarting(own_broker.layout))
    workflows = {f"w{n}" for n in range(COUNT)}
    orchestra.send_all([start_of(name, LEAD | {"name": name}) for name in sorted(workflows)])
    until("calls are under way", lambda: len(orchestra.agents.calls("lead-ingestion")) > COUNT // 2)
    with own_broker.away():  # their replies are yet to be written
        until("a delivery has failed for good", lambda: orchestra.cluster.restarts(orchestra.job))
        with pytest.raises(Unreachable, match="could not be written"):
            orchestra.send("refused", LEAD)
        refused = loopwright(orchestra.settings, "send", "-", "--json", stdin=json.dumps(LEAD).encode())
        assert (refused.returncode, json.loads(refused.stdout)["error"]) == (3, "Unreachable")
    until("the broker leads its partitions again", lambda: readable(orchestra.settings))
    results = orchestra.results(COUNT, lambda m: m.workflow in workflows)
    assert {r.workflow for r in results} == workflows
    assert orchestra.cluster.status(orchestra.job) == "RUNNING"
    report = orchestra.verified()
    assert report.holds, report.as_dict()
    for name in PATH:
        assert {len({r.body for r in calls}) for calls in orchestra.agents.by_key(name).values()} == {1}


def test_a_dead_letter_topic_that_is_gone_holds_the_job_up_and_loses_nothing(orchestra: Orchestra) -> None:
    orchestra.settings = orchestra.settings.model_copy(update={"kafka": orchestra.settings.kafka.model_copy(update={"client": IMPATIENT})})
    topics = orchestra.settings.topics
    orchestra.define(*orchestra.team())
    orchestra.run(more=restarting(Layout.at(Path("unused"))))
    orchestra.producer.send(topics.messages, b"w", b"not json")
    until("a dead letter", lambda: orchestra.said(topics.dead_letters))
    remove(orchestra.settings, topics.dead_letters)
    before = orchestra.cluster.restarts(orchestra.job)
    poison = {f"not json {n}".encode() for n in range(5)}
    for raw in sorted(poison):
        orchestra.producer.send(topics.messages, b"w", raw)
        orchestra.send(f"after {raw!r}", LEAD)
    until("the job has failed over it", lambda: orchestra.cluster.restarts(orchestra.job) > before)
    assert topics.dead_letters not in listed(orchestra.settings)
    ensure_topics(orchestra.settings, topic_specs(orchestra.settings))
    until("all dead letters", lambda: {original_bytes(m.data) for m in orchestra.said(topics.dead_letters)} >= poison)
    orchestra.results(len(poison))
    report = orchestra.verified()
    assert report.holds, report.as_dict()


def test_partitions_that_are_added_under_load_are_read_and_workflows_that_move_complete(orchestra: Orchestra) -> None:
    """Keys move to other partitions in the middle of their workflows, since every client learns of the new ones at once."""
    orchestra.settings = orchestra.settings.model_copy(
        update={"kafka": orchestra.settings.kafka.model_copy(update={"client": {"metadata.max.age.ms": "1000"}})}
    )
    orchestra.producer = Producer(orchestra.settings)
    for name, output in OUTPUTS.items():
        orchestra.agents.agent(name, slow(1.0, answering(output)))
    orchestra.define(*orchestra.team())
    orchestra.run()
    orchestra.send_all([start_of(f"w{n}", LEAD) for n in range(COUNT)])
    until("the load is on", lambda: len(orchestra.agents.calls("lead-ingestion")) > COUNT // 2)
    keyed = orchestra.settings.topics.messages, orchestra.settings.topics.decisions
    admin = AdminClient(client_config(orchestra.settings))
    for made in admin.create_partitions([NewPartitions(name, 8) for name in keyed]).values():
        made.result()
    orchestra.results(COUNT)
    for topic in keyed:
        places: dict[bytes | None, set[int]] = {}
        for record in read_all(orchestra.settings, [topic]):
            places.setdefault(record.key, set()).add(record.partition)
        assert any(len(partitions) > 1 for partitions in places.values()), f"no workflow moved within {topic}: nothing was shown"
    report = orchestra.verified()
    assert report.holds, report.as_dict()
    assert report.counts["completed"] == COUNT


def readable(settings: Settings) -> bool:
    """Whether every topic can be read."""
    try:
        return all(True for _ in read_all(settings, topics_of(settings)))
    except LoopwrightError:
        return False


def remove(settings: Settings, topic: str) -> None:
    """Delete the topic, and wait until it is gone."""
    admin = AdminClient(client_config(settings))  # held: the futures die with it
    for done in admin.delete_topics([topic]).values():
        done.result()
    until(f"{topic} is gone", lambda: topic not in listed(settings))
