"""The job on a minicluster with a real broker, its agents, and what a test looks at."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment

from jobs.orchestrator import build
from loopwright import schemas
from loopwright.cli.logs import topics_of
from loopwright.cli.verify import PATIENCE_MS, SKEW_MS
from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.platform.jars import Jars
from loopwright.history.findings import Clock
from loopwright.history.invariants import Evidence, Report
from loopwright.message import Message, emitted, encode, read
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.loading import load_team
from loopwright.registry.roster import records_of
from loopwright.settings import Settings
from loopwright.testing.agent_server import AgentServer
from loopwright.workflow.fold import Applied, fold
from loopwright.workflow.state import WorkflowState
from tests.flink.minicluster import MiniCluster, until

ROOT = Path(__file__).resolve().parents[2]
PATH = ["lead-ingestion", "lead-scoring", "active-outreach", "send-email"]


def start_of(workflow: str, document: dict[str, Any]) -> Message:
    return Message(workflow, schemas.STARTED, "/test", workflow, {"document": document})


class Orchestra:
    """The job, the agents and the model of one test."""

    def __init__(self, cluster: MiniCluster, settings: Settings, agents: AgentServer, jars: Jars) -> None:
        self.cluster, self.settings, self.agents, self._jars = cluster, settings, agents, jars
        self.producer = Producer(settings)
        self.job: Any = None

    def environment(
        self, parallelism: int = 2, more: Mapping[str, str] | None = None, deciders: Sequence[Any] = ()
    ) -> StreamExecutionEnvironment:
        conf = Configuration()
        for name, value in {
            "python.execution-mode": "thread",
            "execution.buffer-timeout.interval": "0 ms",
            "pipeline.object-reuse": "true",
            "execution.checkpointing.interval": "1 s",
            "pipeline.jars": ";".join(path.as_uri() for path in self._jars.paths("flink")),
            **(more or {}),
        }.items():
            conf.set_string(name, value)
        env = StreamExecutionEnvironment.get_execution_environment(conf)
        env.set_parallelism(parallelism)
        env.add_jars(*[path.as_uri() for path in self._jars.paths("flink")])
        build(env, self.settings, *deciders)
        return env

    def run(self, savepoint: str = "", parallelism: int = 2, more: Mapping[str, str] | None = None, deciders: Sequence[Any] = ()) -> None:
        """Start the job; `more` are Flink options on top, `deciders` what `build` is to take instead of its own."""
        self.job = self.cluster.submit(self.environment(parallelism, more, deciders), savepoint, self._jars.paths("flink"))

    def end(self) -> None:
        """Stop the job and let go of the clients."""
        if self.job is not None:
            self.cluster.cancel(self.job)
        self.producer.close()

    def stop(self, folder: Path) -> str:
        """Stop the job with a savepoint below `folder`; its path."""
        return self.cluster.stop(self.job, folder)

    def ends_by_the_log(self) -> dict[str, tuple[str, tuple[str, ...], bytes]]:
        """By workflow what the fold of agent-messages gives, without the job: phase, path, document."""
        states: dict[str, WorkflowState | None] = {}
        for message in self.said(self.settings.topics.messages):
            folded = fold(states.get(message.workflow), message, self.settings.limits, self.settings.team)
            if isinstance(folded, Applied):
                states[message.workflow] = folded.state
        return {
            name: (s.phase.value, tuple(s.path), orjson.dumps(s.document, option=orjson.OPT_SORT_KEYS)) for name, s in states.items() if s
        }

    def verified(self) -> Report:
        """What `loopwright verify` finds in the logs."""
        evidence = Evidence(self.settings.topics, self.settings.limits, self.settings.team)
        evidence.extend(read_all(self.settings, topics_of(self.settings)))
        return evidence.report(Clock(time.time_ns() // 1_000_000, SKEW_MS, PATIENCE_MS), 0)

    def define(self, *definitions: AgentDefinition) -> None:
        for key, value in records_of(definitions):
            self.producer.send(self.settings.topics.definitions, key.encode(), value)

    def team(self) -> list[AgentDefinition]:
        return load_team(ROOT / "agents" / "sdr", {"AGENTS_URL": self.agents.url})

    def send(self, workflow: str, document: dict[str, Any]) -> None:
        message = Message(workflow, schemas.STARTED, "/test", workflow, {"document": document}, traceparent="")
        self.producer.send(self.settings.topics.messages, workflow.encode(), encode(message))

    def send_all(self, messages: Iterable[Message]) -> None:
        """Write messages to agent-messages, in this order within each workflow."""
        self.producer.send_many(emitted(self.settings.topics.messages, message) for message in messages)

    def said(self, topic: str, workflow: str = "") -> list[Message]:
        found = [read(record) for record in read_all(self.settings, [topic]) if record.value]
        return [message for message in found if not workflow or message.workflow == workflow]

    def results(self, count: int, wanted: Callable[[Message], bool] = lambda _: True) -> list[Message]:
        def there() -> list[Message] | None:
            found = [m for m in self.said(self.settings.topics.results) if wanted(m)]
            return found if len(found) >= count else None

        try:
            found: list[Message] = until(f"{count} results", there)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.situation()}") from error
        return found

    def situation(self) -> str:
        """What stands in the topics, for a test that waits in vain."""
        lines = [f"job {self.cluster.status(self.job)}"]
        for topic in self.settings.topics.model_dump().values():
            for record in read_all(self.settings, [topic]):
                lines.append(f"{topic} {record.partition}/{record.offset} {(record.value or b'')[:300]!r}")
        return "\n".join(lines)
