"""Logs written by hand, for the tests of history: each call adds a record to its topic, as Kafka would keep it."""

from typing import Any

from loopwright import schemas
from loopwright.deadletter import dead_letter
from loopwright.history.timeline import Timeline
from loopwright.history.view import WorkflowView
from loopwright.message import Message, Rejected, encode, record_id
from loopwright.settings import Limits, Topics
from loopwright.step import Record

TOPICS, LIMITS = Topics(), Limits()
START_MS = 1_780_000_000_000
Body = dict[str, Any]


class Log:
    """Topics with a clock that moves on by 10 ms at each record."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now_ms = START_MS

    def put(self, topic: str, value: bytes | None, key: bytes | None = None) -> Record:
        """Append bytes to a topic."""
        offset = sum(record.topic == topic for record in self.records)
        self.now_ms += 10
        self.records.append(Record(topic, 0, offset, self.now_ms, key, value))
        return self.records[-1]

    def say(self, topic: str, kind: str, data: Body, workflow: str = "w1", hop: int = 0, cause: str = "") -> Record:
        """Append a message to a topic."""
        branch = "main" if hop else ""
        message = Message(record_id(workflow, hop, branch, kind), kind, "/test", workflow, data, hop, branch, self.now_ms, causation=cause)
        return self.put(topic, encode(message), workflow.encode())

    def started(self, workflow: str = "w1", **document: Any) -> Record:
        return self.say(TOPICS.messages, schemas.STARTED, {"document": document or {"name": "Ada"}, "team": "sdr"}, workflow)

    def decided(self, hop: int, agent: str, strategy: str = "llm", workflow: str = "w1", **more: Any) -> Record:
        target = {"branch": "main", "agent": agent, "version": 1, "input": {}}
        data = {"outcome": "dispatch", "strategy": strategy, "targets": [target], "candidates": [agent, "other"], "reason": "it fits"}
        data |= {"pins": {agent: 1}, "calls": 1, "tokens": {"prompt": 100, "completion": 20}, "cost": 0.5, "duration_ms": 7}
        return self.say(TOPICS.decisions, schemas.DECIDED, data | {"confidence": 0.9, "model": "m", "rejected": []} | more, workflow, hop)

    def replied(self, hop: int, agent: str, output: Body | None = None, workflow: str = "w1", **more: Any) -> Record:
        data: Body = {"agent": agent, "version": 1, "branch": "main", "attempts": 2, "output": output or {agent: hop}, "next": "continue"}
        data |= {
            "pins": {agent: 1},
            "decision": {"strategy": "llm", "calls": 1, "tokens": 120, "cost": 0.5},
            "status": 200,
            "duration_ms": 33,
        }
        return self.say(TOPICS.messages, schemas.REPLIED, data | more, workflow, hop)

    def failed(self, hop: int, agent: str, workflow: str = "w1") -> Record:
        data: Body = {"agent": agent, "version": 1, "branch": "main", "attempts": 5, "status": 503, "pins": {agent: 1}, "decision": {}}
        return self.say(TOPICS.messages, schemas.FAILED, data | {"error": {"class": "Unavailable", "message": "503"}}, workflow, hop)

    def settled(self, hop: int, outcome: str, reason: str, workflow: str = "w1") -> Record:
        return self.say(TOPICS.messages, schemas.SETTLED, {"outcome": outcome, "reason": reason}, workflow, hop)

    def completed(self, hop: int, document: Body, workflow: str = "w1") -> Record:
        data = {"document": document, "hops": hop, "path": [], "duration_ms": 1, "spend": {}, "reason": "done"}
        return self.say(TOPICS.results, schemas.WORKFLOW_COMPLETED, data, workflow, hop)

    def dead_letter(self, record: Record, workflow: str = "", cause: str = "invalid-json", why: str = "line 1") -> Record:
        emit = dead_letter(Rejected(record, cause, why, "mend it", workflow), TOPICS.dead_letters, "parse")
        return self.put(emit.topic, emit.value, emit.key)

    def timeline(self) -> Timeline:
        return timeline_of(self.records)

    def view(self, workflow: str = "w1") -> WorkflowView:
        return self.timeline().view(workflow)


def timeline_of(records: list[Record]) -> Timeline:
    """A timeline with `records` in it."""
    timeline = Timeline(TOPICS, LIMITS, "sdr")
    timeline.extend(records)
    return timeline


def worked_lead() -> Log:
    """A lead that two agents worked, completed."""
    log = Log()
    log.started(name="Ada", lead_source="webinar")
    log.decided(1, "lead-ingestion", "only-candidate", calls=0, tokens={"prompt": 0, "completion": 0}, cost=0)
    log.replied(1, "lead-ingestion", {"profile": {"seniority": "C-level"}})
    log.decided(2, "lead-scoring")
    log.replied(2, "lead-scoring", {"score": 81}, usage={"prompt_tokens": 10, "completion_tokens": 5, "calls": 1, "cost": 0.25})
    log.decided(3, "", "end", outcome="complete", targets=[], candidates=[], calls=0, tokens={}, cost=0, reason="nothing is left to do")
    log.settled(3, "complete", "nothing is left to do")
    log.completed(3, {"name": "Ada", "score": 81})
    return log
