"""How long records are kept, on real brokers: one as it comes, and one with tiered storage."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jgo.maven import MavenContext

from loopwright.edges.kafka import Producer, TopicSpec, ensure_topics, read_all
from loopwright.edges.platform.broker import Broker
from loopwright.edges.platform.jars import Jars, sha256
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.processes import Processes
from loopwright.edges.platform.topics import make_topics
from loopwright.edges.platform.waiting import wait_for
from loopwright.edges.topic_settings import Difference, differences, has_tiered_storage, settle_topics
from loopwright.edges.topics import topic_specs
from loopwright.settings import Kafka, Retention, Settings

ROOT = Path(__file__).resolve().parents[2]
DAY = 24 * 3_600_000
STORAGE = ("org.apache.kafka", "kafka-storage", "4.3.1", "test")  # Kafka's own tiered storage in a folder, made for its tests
STORAGE_SHA256 = "f3236936854c13815ffaa7f35a3f2d6861c125616cba5395b538b8680dded886"
CLASSES = "org.apache.kafka.server.log.remote.storage.LocalTieredStorage"


def keeping(kafka: Settings, **kept: int) -> Settings:
    return kafka.model_copy(update={"retention": Retention(**kept)})


def found(kafka: Settings, spec: TopicSpec, *names: str) -> list[str]:
    """The values that settings of a topic have on the broker."""
    asked = replace(spec, config=dict.fromkeys(names, "?"), tiers={})
    return [one.found for one in differences(kafka, [asked])]


def test_topics_of_an_own_broker_are_given_their_settings_and_keep_what_is_not_ours(kafka: Settings) -> None:
    spec = topic_specs(kafka)[0]
    assert differences(kafka, topic_specs(kafka)) == []
    theirs = replace(spec, config={"segment.bytes": "10485760"})
    assert make_topics(kafka.kafka.bootstrap_servers, [theirs], 30, own=True) == []
    longer = topic_specs(keeping(kafka, hot_ms=9 * DAY))
    assert Difference(spec.name, "retention.ms", str(7 * DAY), str(9 * DAY)) in differences(kafka, longer)
    assert make_topics(kafka.kafka.bootstrap_servers, longer, 30, own=True) == []
    assert differences(kafka, longer) == []
    assert found(kafka, spec, "retention.ms", "segment.bytes") == [str(9 * DAY), "10485760"]


def test_topics_of_somebody_else_s_broker_are_left_alone(kafka: Settings) -> None:
    longer = topic_specs(keeping(kafka, hot_ms=9 * DAY))
    assert make_topics(kafka.kafka.bootstrap_servers, longer, 30, own=False) == []
    assert found(kafka, longer[0], "retention.ms") == [str(7 * DAY)]


def test_another_number_of_partitions_is_shown_and_not_altered(kafka: Settings) -> None:
    spec = replace(topic_specs(kafka)[0], partitions=9)
    settle_topics(kafka, [spec], alter_present=True)
    assert differences(kafka, [spec]) == [Difference(spec.name, "partitions", "4", "9")]


def test_without_tiered_storage_records_stay_on_the_disks_for_both_tiers(kafka: Settings) -> None:
    warm = topic_specs(keeping(kafka, hot_ms=2 * DAY, warm_ms=28 * DAY))
    assert not has_tiered_storage(kafka)
    settle_topics(kafka, warm, alter_present=True)
    assert found(kafka, warm[0], "retention.ms", "remote.storage.enable") == [str(30 * DAY), "false"]


def command(kafka: Settings, *args: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of `loopwright topics`."""
    names = {f"LOOPWRIGHT_TOPICS__{name.upper()}": value for name, value in kafka.topics.model_dump().items()}
    environment = {**os.environ, **names, "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": kafka.kafka.bootstrap_servers, **variables}
    call = [sys.executable, "-c", "from loopwright.cli.main import main; main()", "topics", *args, "--json"]
    done = subprocess.run(call, env=environment, cwd=ROOT, capture_output=True, timeout=100, check=False)
    return done.returncode, json.loads(done.stdout)


def test_the_command_shows_what_differs_and_mends_it(kafka: Settings) -> None:
    longer = {"LOOPWRIGHT_RETENTION__AUDIT_MS": str(95 * DAY)}
    difference = {"topic": kafka.topics.audit, "setting": "retention.ms", "found": str(90 * DAY), "wanted": str(95 * DAY)}
    new = {"LOOPWRIGHT_TOPICS__PROGRESS": f"{kafka.topics.progress}-new"}
    assert command(kafka, "list")[0] == 0
    code, said = command(kafka, "list", **longer, **new)
    assert (code, said["missing"], said["differences"]) == (1, list(new.values()), [difference])
    for option in (("--dry-run",), ()):
        changes = {"dry_run": bool(option), "made": list(new.values()), "altered": [difference]}
        assert command(kafka, "apply", *option, **longer, **new) == (0, changes)
    assert command(kafka, "list", **longer, **new)[0] == 0
    assert command(kafka, "apply", **longer, **new) == (0, {"dry_run": False, "made": [], "altered": []})


@pytest.fixture(scope="module")
def storage(jars: Jars) -> Path:
    """The jar with the tiered storage, fetched once per machine."""
    group, artifact, version, classifier = STORAGE
    kept = jars.paths("kafka")[0].parents[1] / "test"
    file = kept / f"{artifact}-{version}-{classifier}.jar"
    if not file.is_file():
        context = MavenContext(repo_cache=kept, local_repos=[], timeout=60)
        fetched = Path(context.project(group, artifact).at_version(version).artifact(classifier).resolve())
        assert sha256(fetched) == STORAGE_SHA256
        fetched.replace(file)
    return file


@pytest.fixture
def tiered(jars: Jars, storage: Path, tmp_path: Path) -> Iterator[Settings]:
    """A broker with tiered storage that moves segments as soon as they are closed."""
    layout = Layout.at(tmp_path / "broker")
    layout.make()
    settings = {
        "remote.log.storage.system.enable": "true",
        "remote.log.storage.manager.class.name": CLASSES,
        "rsm.config.dir": str(tmp_path / "warm"),
        "remote.log.metadata.manager.listener.name": "PLAINTEXT",
        "rlmm.config.remote.log.metadata.topic.replication.factor": "1",
        "rlmm.config.remote.log.metadata.topic.num.partitions": "1",
        "remote.log.manager.task.interval.ms": "500",
        "log.retention.check.interval.ms": "500",
    }
    processes, ports = Processes(layout.run), Ports(layout.run / "ports.json")
    classpath = (*jars.paths("kafka"), storage)
    node = Broker(layout, find_java({}, bundled_only=True), classpath, processes, ports, dict(os.environ), settings=settings)
    node.start()
    try:
        yield Settings(kafka=Kafka(bootstrap_servers=node.wait_ready(60).url, partitions=1))
    finally:
        node.stop()


def test_with_tiered_storage_records_leave_the_disks_first_and_can_be_read_all_the_same(tiered: Settings, tmp_path: Path) -> None:
    assert has_tiered_storage(tiered)
    specs = topic_specs(keeping(tiered, hot_ms=1, warm_ms=30 * DAY))
    assert settle_topics(tiered, specs, alter_present=True) == sorted(spec.name for spec in specs)
    names = ("retention.ms", "remote.storage.enable", "local.retention.ms")
    assert found(tiered, specs[0], *names) == [str(30 * DAY + 1), "true", "1"]
    assert found(tiered, specs[-1], "remote.storage.enable") == ["false"]
    small = replace(specs[0], config={"segment.ms": "100", "segment.bytes": "1048576"})
    settle_topics(tiered, [small], alter_present=True)

    def moved() -> bool:
        with Producer(tiered) as producer:
            producer.send(specs[0].name, b"k", b"x")
        return any((tmp_path / "warm").rglob("*.log"))

    assert wait_for(moved, 60)
    written = [record.offset for record in read_all(tiered, [specs[0].name])]
    assert written == list(range(len(written)))
    assert ensure_topics(tiered, specs) == []
