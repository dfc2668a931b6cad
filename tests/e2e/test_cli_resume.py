"""`loopwright resume --from` as a process, against librdkafka's mock broker."""

import pytest

from loopwright import schemas
from loopwright.edges import kafka
from loopwright.message import Message, read
from tests.e2e.test_cli_kafka import TOPICS, Broker, broker

__all__ = ["broker"]
TARGET = {"branch": "0", "agent": "greeter", "version": 1, "input": {"name": "Ada"}, "input_hash": "ab" * 8}
DECIDED = {"outcome": "dispatch", "strategy": "only-candidate", "targets": [TARGET], "candidates": ["greeter"], "reason": "x", "pins": {}}
REPLIED = {"agent": "greeter", "version": 1, "branch": "0", "attempts": 1, "pins": {"greeter": 1}, "decision": {}, "input_hash": "ab" * 8}


def work(broker: Broker, workflow: str, *, end: bool = True, agent: str = "greeter") -> None:
    """The log of a workflow that one agent worked."""
    broker.say(TOPICS.messages, schemas.STARTED, workflow, 0, {"document": {"name": "Ada"}, "team": "t1"})
    broker.say(TOPICS.decisions, schemas.DECIDED, workflow, 1, {**DECIDED, "targets": [{**TARGET, "agent": agent}]})
    reply = {**REPLIED, "agent": agent, "output": {"greeting": "Hi"}, "next": "continue"}
    broker.say(TOPICS.messages, schemas.REPLIED, workflow, 1, reply)
    if end:
        broker.say(TOPICS.messages, schemas.SETTLED, workflow, 2, {"outcome": "complete", "reason": "done"})


def resumptions(broker: Broker, workflow: str) -> list[Message]:
    records = [read(r) for r in kafka.read_all(broker.settings, [TOPICS.messages]) if r.key == workflow.encode()]
    return [record for record in records if record.type == schemas.RESUMED]


@pytest.mark.parametrize("new_key", [False, True])
def test_a_completed_workflow_is_set_back_by_a_record_that_carries_its_document_and_its_keys(broker, new_key):
    workflow = f"completed-{new_key}"
    work(broker, workflow)
    told = broker.json("resume", workflow, "--from", "1", "--reason", "mended", *(["--new-key"] if new_key else []))
    assert (told["from_hop"], told["hop"], told["new_key"]) == (1, 3, new_key)
    (said,) = resumptions(broker, workflow)
    assert (said.hop, said.data["reason"], said.data["restored"]["document"]) == (3, "mended", {"name": "Ada"})
    assert list(said.data["restored"]["keys"]) == ([] if new_key else ["greeter/" + "ab" * 8])
    story = broker.json("trace", workflow)
    assert (story["status"], story["path"], story["ignored"]) == ("routing", [], 0)
    assert any("resumed from hop 1 by" in step["summary"] for step in story["steps"])


def test_what_cannot_be_set_back_is_said_and_nothing_is_written(broker):
    work(broker, "busy", end=False)
    work(broker, "ended")
    running = broker.json("resume", "busy", "--from", "1", code=1)
    assert (running["error"], "loopwright cancel busy" in running["remedy"]) == ("Conflict", True)
    missing = broker.json("resume", "ended", "--from", "7", code=1)
    assert (missing["error"], missing["why"]) == ("NotFound", "its hops are 1, 2")
    assert "--from 2" in broker.json("resume", "ended", code=1)["remedy"]
    assert broker.json("resume", "nobody", "--from", "1", code=1)["error"] == "NotFound"
    broker.run("resume", "ended", "--from", "0", code=2)
    broker.run("resume", "ended", "--from", "first", code=2)
    assert resumptions(broker, "busy") + resumptions(broker, "ended") == []
