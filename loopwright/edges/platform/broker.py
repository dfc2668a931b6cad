"""Kafka: one node that is broker and controller (KRaft), its data in the state folder.

The controller quorum is given by `controller.quorum.voters`, not stored in the metadata log, so the ports may change between two starts.
"""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.edges.platform.java import Java
from loopwright.edges.platform.jvm import Jvm, child_environment, tuning
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import HOST, Ports, answers
from loopwright.edges.platform.processes import Command, Processes, Started
from loopwright.edges.platform.waiting import failed, wait_for
from loopwright.errors import PlatformFailed

NAME, CONTROLLER = "kafka", "kafka-controller"
MESSAGE_BYTES = 16 * 1024 * 1024
_FORMAT_DEADLINE_S = 60
_STOP_DEADLINE_S = 20
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
)


@dataclass(frozen=True)
class Broker:
    """One Kafka node. `jars` is its class path; `environment` what the process inherits; `settings` go on top of server.properties."""

    layout: Layout
    java: Java
    jars: Sequence[Path]
    processes: Processes
    ports: Ports
    environment: Mapping[str, str]
    heap: str = "512m"
    quick: bool = True
    archive: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> str:
        """Start it unless it runs; return `host:port` at once, before it answers. The first time, the data folder is formatted."""
        if (running := self.processes.running(NAME)) is not None:
            return running.url
        port, controller = self.ports.settle(NAME, False), self.ports.settle(CONTROLLER, False)
        self._write_properties(port, controller)
        if not (self.layout.kafka_data / "meta.properties").exists():
            self._format(self._properties)
        return self.processes.start(self.command()).url

    def command(self) -> Command:
        """How it is started, with the ports that are known and the settings that were written."""
        known = self.ports.known()
        given = {name: known.get(name, 0) for name in (NAME, CONTROLLER)}
        args = self._jvm("kafka.Kafka", str(self._properties)).args(self.java, self.layout)
        return Command(NAME, args, self._environment(), self.layout.home, self.layout.log(NAME), given, f"{HOST}:{given[NAME]}")

    def wait_ready(self, seconds: float) -> Started:
        """Return when it accepts connections; raise PlatformFailed with the end of its log otherwise."""
        ready = wait_for(self._state, seconds)
        if isinstance(ready, Started) and ready.alive():
            return ready
        why = "the process ended" if self.processes.running(NAME) is None else f"it does not answer after {seconds:.0f} s"
        self.processes.stop(NAME, 1)
        raise failed("Kafka did not start", why, self.layout.log(NAME))

    def healthy(self) -> bool:
        """Whether it runs and accepts connections."""
        running = self.processes.running(NAME)
        return running is not None and answers(running.ports[NAME])

    def stop(self) -> bool:
        """Stop it; the data stays. True when it stopped by itself after SIGTERM."""
        return self.processes.stop(NAME, _STOP_DEADLINE_S)

    def _state(self) -> Started | bool | None:
        running = self.processes.running(NAME)
        if running is None:
            return self.processes.find(NAME) or True
        return running if answers(running.ports[NAME]) else None

    def _jvm(self, main: str, *arguments: str) -> Jvm:
        flags = (f"-Xmx{self.heap}", *tuning(self.quick), *_LOGGING)
        return Jvm(NAME, main, self.jars, flags, arguments, self.archive)

    def _environment(self) -> dict[str, str]:
        return child_environment(self.environment, self.java, self.layout)

    @property
    def _properties(self) -> Path:
        return self.layout.conf / "server.properties"

    def _write_properties(self, port: int, controller: int) -> None:
        settings = {**node_settings(port, controller, self.layout.kafka_data), **self.settings}
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def _format(self, properties: Path) -> None:
        jvm = self._jvm("kafka.tools.StorageTool", "format", "-t", cluster_id(uuid.uuid4()), "-c", str(properties))
        args = jvm.args(self.java, self.layout)
        try:
            done = subprocess.run(
                args, env=self._environment(), capture_output=True, text=True, timeout=_FORMAT_DEADLINE_S, check=False, cwd=self.layout.home
            )
        except subprocess.TimeoutExpired as error:
            raise PlatformFailed("Kafka's data folder cannot be formatted", f"no end after {_FORMAT_DEADLINE_S} s", "try again") from error
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            remedy = f"look into {self.layout.kafka_data}; `loopwright down --wipe` begins anew"
            raise PlatformFailed("Kafka's data folder cannot be formatted", said, remedy)


def cluster_id(drawn: uuid.UUID) -> str:
    """A cluster id in Kafka's form. Its first bit is cleared: one that began with a dash would be taken for an option."""
    raw = bytes([drawn.bytes[0] & 0x7F]) + drawn.bytes[1:]
    return urlsafe_b64encode(raw).decode().rstrip("=")


def node_settings(port: int, controller: int, data: Path) -> dict[str, str]:
    """server.properties for a single node: one replica of everything, no waiting for more members, records of up to 16 MiB."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "num.partitions": "4",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "message.max.bytes": str(MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MESSAGE_BYTES),
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "log.message.timestamp.after.max.ms": str(2**63 - 1),
    }
