"""Workflows of the sales team on a real platform: started, waited for, and proven by the logs and by the agents that were called."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright import schemas
from loopwright.cli.logs import topics_of
from loopwright.cli.verify import PATIENCE_MS, SKEW_MS
from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.platform.waiting import wait_for
from loopwright.history.invariants import Clock, Evidence, Report
from loopwright.message import Message, emitted, read
from loopwright.registry.loading import load_team
from loopwright.registry.roster import records_of
from loopwright.settings import Settings
from loopwright.testing.agent_behaviours import answering, idempotent, slow
from loopwright.testing.agent_server import AgentServer
from tests.unit.sdr_team import LEAD, OUTPUTS

ROOT = Path(__file__).resolve().parents[2]

PATIENCE_S = 180


@contextmanager
def sales_agents(pause_s: float) -> Iterator[AgentServer]:
    """The agents of the team, which take so long for an answer and honour Idempotency-Key."""
    with AgentServer() as agents:
        for name, output in OUTPUTS.items():
            agents.agent(name, slow(pause_s, idempotent(answering(output))))
        yield agents


def publish(settings: Settings, agents_url: str) -> None:
    """Publish the team's definitions."""
    with Producer(settings) as producer:
        for key, value in records_of(load_team(ROOT / "agents" / "sdr", {"AGENTS_URL": agents_url})):
            producer.send(settings.topics.definitions, key.encode(), value)


class Workflows:
    """Those of `settings`; `agents` honour Idempotency-Key and are the witness of effects."""

    def __init__(self, settings: Settings, agents: AgentServer) -> None:
        self.settings = settings
        self.agents = agents

    def send(self, mark: str, count: int) -> set[str]:
        """Start so many workflows; their ids."""
        names = [f"{mark}-{n}" for n in range(count)]
        starts = [Message(name, schemas.STARTED, "/test", name, {"document": LEAD | {"name": name}}) for name in names]
        with Producer(self.settings) as producer:
            producer.send_many(emitted(self.settings.topics.messages, start) for start in starts)
        return set(names)

    def ended(self) -> dict[str, list[Message]]:
        """Results by workflow."""
        found: dict[str, list[Message]] = {}
        for message in self.said(self.settings.topics.results):
            found.setdefault(message.workflow, []).append(message)
        return found

    def said(self, topic: str) -> list[Message]:
        """What a topic holds."""
        return [message for record in read_all(self.settings, [topic]) if isinstance(message := read(record), Message)]

    def all_end(self, workflows: set[str]) -> None:
        done = wait_for(lambda: workflows <= self.ended().keys(), PATIENCE_S)
        assert done, f"{len(workflows - self.ended().keys())} of {len(workflows)} have not ended; {self.state()}"

    def some_end(self, workflows: set[str], count: int) -> None:
        assert wait_for(lambda: len(workflows & self.ended().keys()) >= count, PATIENCE_S), self.state()

    def state(self) -> object:
        """What is said of the platform where they do not end."""
        return ""

    def report(self) -> Report:
        """What `loopwright verify` finds."""
        evidence = Evidence(self.settings.topics, self.settings.limits, self.settings.team)
        evidence.extend(read_all(self.settings, topics_of(self.settings)))
        return evidence.report(Clock(time.time_ns() // 1_000_000, SKEW_MS, PATIENCE_MS))

    def holds(self, workflows: set[str]) -> None:
        """Each completed, with one effect; the logs prove it."""
        report = self.report()
        assert report.holds, report.as_dict()
        assert {m.type for name in workflows for m in self.ended()[name]} == {schemas.WORKFLOW_COMPLETED}
        effects: dict[str, set[str]] = {}
        for key, calls in self.agents.by_key("send-email").items():
            effects.setdefault(calls[0].headers["ce-workflowid"], set()).add(key)
        assert {name: len(effects.get(name, ())) for name in workflows} == dict.fromkeys(workflows, 1)
