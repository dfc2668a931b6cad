"""`loopwright dlq` as a process, against librdkafka's mock broker."""

import json
import time

import pytest

from loopwright import schemas
from loopwright.deadletter import dead_letter
from loopwright.edges import kafka
from loopwright.message import Message, Rejected, encode, read
from loopwright.step import Record
from tests.e2e.test_cli_kafka import TOPICS, Broker, broker

__all__ = ["broker"]


def refuse(
    broker: Broker, value: bytes, workflow: str = "", offset: int = 0, cause: str = "invalid-json", topic: str = TOPICS.messages
) -> str:
    """Write the dead letter of `value`; its id."""
    now_ms = int(time.time() * 1000)
    record = Record(topic, 0, offset, now_ms, workflow.encode() or None, value)
    emit = dead_letter(Rejected(record, cause, "it \x1b[31mis wrong", "mend it", workflow), TOPICS.dead_letters, "parse", now_ms)
    with kafka.Producer(broker.settings) as producer:
        producer.send_many([emit])
    return str(json.loads(emit.value)["id"])


def give_up(broker: Broker, workflow: str, hop: int = 1) -> str:
    """Write the dead letter of a call that was given up; its id."""
    data = {"agent": "greeter", "version": 1, "cause": f"Unavailable-{workflow}", "stage": "dispatch", "why": "503", "remedy": "mend it"}
    message = Message(f"failed-{workflow}-{hop}", schemas.FAILED, "/test", workflow, data, hop, time_ms=int(time.time() * 1000))
    with kafka.Producer(broker.settings) as producer:
        producer.send(TOPICS.dead_letters, workflow.encode(), encode(message))
    return message.id


def park(broker: Broker, workflow: str) -> None:
    broker.say(TOPICS.messages, schemas.STARTED, workflow, 0, {"document": {"name": "Ada"}, "team": "t1"})
    broker.say(TOPICS.messages, schemas.SETTLED, workflow, 1, {"outcome": "park", "reason": "the agent failed"})


def written(broker: Broker, topic: str, letter: str) -> list[tuple[bytes, bytes]]:
    """Key and value of what was written for a letter."""
    records = kafka.read_all(broker.settings, [topic])
    return [(r.key or b"", r.value or b"") for r in records if r.headers.get("loopwright-dead-letter") == letter.encode()]


def resumptions(broker: Broker, workflow: str) -> list[Message]:
    records = [read(r) for r in kafka.read_all(broker.settings, [TOPICS.messages]) if r.key == workflow.encode()]
    return [record for record in records if record.type == schemas.RESUMED]


def resumed(broker: Broker, workflow: str) -> int:
    return len(resumptions(broker, workflow))


def state(broker: Broker, letter: str) -> str:
    return str(broker.json("dlq", "show", letter)["state"])


def test_the_open_letters_are_listed_and_shown_safely(broker):
    text = refuse(broker, b'{"a":\x1b[2J}', "listed", 1, "cause-listed")
    refuse(broker, b"\xff\x00", offset=2, cause="cause-listed")
    rows = broker.json("dlq", "list", "--cause", "cause-listed")["letters"]
    assert [(row["workflow"], row["of"]["offset"]) for row in rows] == [("listed", 1), (None, 2)]
    table = broker.run("dlq", "list").stdout
    assert b"cause-listed" in table
    assert b"agent-messages-0-1" in table
    shown = broker.run("dlq", "show", text[:16]).stdout
    assert b'{"a":\\x1b[2J}' in shown
    assert b"\x1b" not in table + shown
    assert broker.json("dlq", "show", rows[1]["position"])["original"] == {"encoding": "base64", "value": "/wA="}


def test_a_refused_record_is_written_again_unchanged_with_its_key_and_once(broker):
    letter = refuse(broker, b'{"x": 1', "again", 3, "cause-again")
    told = broker.json("dlq", "retry", letter, "--reason", "limits raised")["letters"][0]
    assert told["action"] == "retried"
    assert "refused again" in told["warning"]
    assert written(broker, TOPICS.messages, letter) == [(b"again", b'{"x": 1')]
    assert broker.json("dlq", "list", "--cause", "cause-again")["letters"] == []
    settled = broker.json("dlq", "list", "--cause", "cause-again", "--all")["letters"][0]["settled"]
    assert (settled["action"], settled["reason"]) == ("retried", "limits raised")
    assert broker.json("dlq", "retry", letter, code=1)["error"] == "Conflict"
    assert len(written(broker, TOPICS.messages, letter)) == 1


def test_bytes_without_a_key_go_back_without_a_key_to_the_topic_where_they_stood(broker):
    letter = refuse(broker, b"\xff\xfe", offset=4, topic=TOPICS.callbacks)
    broker.run("dlq", "retry", letter)
    assert written(broker, TOPICS.callbacks, letter) == [(b"", b"\xff\xfe")]


def test_a_correction_is_written_instead_and_one_that_would_be_refused_is_not(broker):
    letter = refuse(broker, b'{"name": }', "corrected", 5)
    (broker.folder / "wrong.json").write_bytes(b'{"name": ')
    (broker.folder / "right.json").write_bytes(b'{"name": "Ada"}')
    assert broker.json("dlq", "retry", letter, "--edit", "wrong.json", code=1)["error"] == "InvalidDocument"
    assert state(broker, letter) == "open"
    assert "warning" not in broker.json("dlq", "retry", letter, "--edit", "right.json")["letters"][0]
    assert written(broker, TOPICS.messages, letter) == [(b"corrected", b'{"name": "Ada"}')]


def test_a_letter_that_names_a_topic_which_the_job_does_not_read_is_not_retried(broker):
    letter = refuse(broker, b"{}", "elsewhere", 6, topic="payments")
    assert broker.json("dlq", "retry", letter, code=1)["error"] == "Conflict"
    assert state(broker, letter) == "open"


def test_a_call_that_was_given_up_resumes_its_parked_workflow_once(broker):
    park(broker, "parked")
    one, two = give_up(broker, "parked", 1), give_up(broker, "parked", 2)
    assert broker.json("dlq", "retry", one, "--edit", "x", code=1)["error"] == "Conflict"
    told = broker.json("dlq", "retry", "--cause", "Unavailable-parked")["letters"]
    assert [row["action"] for row in told] == ["retried", "retried"]
    assert resumed(broker, "parked") == 1
    assert [state(broker, one), state(broker, two)] == ["retried", "retried"]
    story = broker.json("trace", "parked")
    assert (story["status"], story["dead_letters"]) == ("waiting for its first decision", 2)
    assert any("retried by" in step["summary"] for step in story["steps"])


@pytest.mark.parametrize("new_key", [False, True])
def test_a_call_is_retried_with_its_key_unless_a_new_one_is_asked_for(broker, new_key):
    workflow = f"keyed-{new_key}"
    park(broker, workflow)
    letter = give_up(broker, workflow)
    broker.run("dlq", "retry", letter, *(["--new-key"] if new_key else []))
    assert [said.data.get("new_key", False) for said in resumptions(broker, workflow)] == [new_key]


@pytest.mark.parametrize("workflow", ["open-one", "unheard-of"])
def test_a_call_whose_workflow_is_not_parked_is_a_conflict_and_the_letter_stays_open(broker, workflow):
    if workflow == "open-one":
        broker.say(TOPICS.messages, schemas.STARTED, workflow, 0, {"document": {"name": "Ada"}, "team": "t1"})
    letter = give_up(broker, workflow)
    error = broker.json("dlq", "retry", letter, code=1)
    assert (error["error"], workflow in error["what"]) == ("Conflict", True)
    assert (state(broker, letter), resumed(broker, workflow)) == ("open", 0)


def test_of_several_those_that_can_be_are_retried_and_the_others_are_told(broker):
    good = refuse(broker, b'{"x": 1}', "several", 7, "cause-several")
    bad = refuse(broker, b'{"x": 1}', "several", 8, "cause-several", topic="payments")
    told = broker.json("dlq", "retry", "--cause", "cause-several", code=1)["letters"]
    assert {row["id"]: row.get("error") for row in told} == {good: None, bad: "Conflict"}
    assert broker.json("dlq", "retry", "--cause", "no-such-cause")["letters"] == []


def test_a_letter_is_dropped_with_a_reason_and_retried_no_more(broker):
    letter = refuse(broker, b"nonsense", "dropped", 9)
    broker.run("dlq", "drop", letter, code=2)
    assert b"dropped" in broker.run("dlq", "drop", letter, "--reason", "spam").stdout
    assert state(broker, letter) == "dropped"
    broker.run("dlq", "retry", letter, code=1)
    assert written(broker, TOPICS.messages, letter) == []
    assert broker.json("dlq", "drop", letter, "--reason", "again", code=1)["error"] == "Conflict"


def test_what_is_not_known_or_not_clear_is_said(broker):
    give_up(broker, "ambiguous", 1)
    give_up(broker, "ambiguous", 2)
    assert "2 dead letters" in broker.json("dlq", "show", "failed-ambiguous", code=1)["what"]
    assert broker.json("dlq", "drop", "99-99", "--reason", "x", code=1)["error"] == "NotFound"


@pytest.mark.parametrize("args", [(), ("0-1", "--all-open"), ("--cause", "c", "--edit", "f")])
def test_retry_wants_one_choice(broker, args):
    broker.run("dlq", "retry", *args, code=2)


def test_who_took_over_a_call_that_was_given_up_is_shown(broker):
    broker.say(TOPICS.messages, schemas.STARTED, "taken-over", 0, {"document": {"name": "Ada"}, "team": "t1"})
    target = {"branch": "0", "agent": "spare", "version": 1, "input": {}}
    decided = {"outcome": "dispatch", "strategy": "llm", "targets": [target], "candidates": ["spare"], "reason": "it is left", "pins": {}}
    letter = give_up(broker, "taken-over", 1)
    assert broker.json("dlq", "show", letter)["went_on"] is None
    broker.say(TOPICS.decisions, schemas.DECIDED, "taken-over", 2, decided)
    assert broker.json("dlq", "show", letter)["went_on"] == "hop 2: spare (it is left)"
    assert b"hop 2: spare" in broker.run("dlq", "show", letter).stdout
