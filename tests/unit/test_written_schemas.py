"""What Loopwright writes keeps the schemas that it registers: every record of whole runs, of the gateway and of the commands."""

import random
from typing import Any

import jsonschema_rs
import orjson
import pytest

from loopwright import schemas
from loopwright.audit import Refusal, refused
from loopwright.history.letters import LetterState, fold, settlement
from loopwright.message import Message, encode
from loopwright.registry.roster import records_of
from loopwright.step import Emit, Record
from loopwright.subjects import Subject, subjects
from loopwright.testing.simulation import Simulation
from loopwright.web.records import called_back, progressed, started
from loopwright.web.tenancy import Caller
from loopwright.writer_schema import WriterSchema
from tests.unit.sdr_team import LEAD, sdr_team
from tests.unit.test_loop import SETTINGS, TOPICS, Agents, fickle, start

BY = {(getattr(TOPICS, subject.role), subject.type): subject for subject in subjects()}


def subject_of(topic: str, value: bytes) -> Subject:
    return BY[topic, orjson.loads(value)["type"]]


def keeps(topic: str, value: bytes) -> Subject:
    """The subject of a record; fails where the record does not keep its schema, or is not the same in Avro."""
    subject, body = subject_of(topic, value), orjson.loads(value)
    errors = [f"{error.instance_path}: {error.message}" for error in jsonschema_rs.Draft7Validator(subject.json).iter_errors(body)]
    assert errors == [], (topic, subject.type)
    again = WriterSchema("AVRO", subject.text("AVRO")).body(subject.encoded(body), 256)
    assert again == body | {"data": {name: said for name, said in body["data"].items() if said is not None}}
    return subject


def runs() -> list[Record]:
    """What whole runs write: with crashes, failing agents, unreadable records, records under no key."""
    written: list[Record] = []
    for seed in range(6):
        rng = random.Random(seed)
        simulation = Simulation(SETTINGS, sdr_team(), Agents(rng, 0.5 if seed % 2 else 0.1), fickle(rng))
        start(simulation, 4)
        simulation.write(TOPICS.messages, b"not json", b"x")
        for message in (
            Message("s", schemas.STARTED, "/t", "w", {"document": LEAD}),
            Message("c", schemas.CANCELLED, "/t", "w", {"by": "ada"}),
        ):
            simulation.write(TOPICS.messages, encode(message), b"w")
        simulation.run(rng, 0.05)
        written += [record for log in simulation.logs.values() for record in log if record.value and record.value[:8] == b'{"specve']
    return written


def beside_the_job() -> list[Emit]:
    """What the gateway and the commands write."""
    letter = next(record for record in runs() if record.topic == TOPICS.dead_letters)
    (known,) = fold([letter], TOPICS, SETTINGS.limits)
    settled = settlement(known, LetterState.DROPPED, "of no use", "ada", 1)
    caller = Caller(tenant="acme", actions=("send-email",))
    return [
        started(TOPICS, "w", LEAD, "sdr", "", 1, caller),
        called_back(TOPICS, "w", 1, "0", {"output": {"a": 1}, "next": "complete", "usage": {"calls": 1}}, "d", 1, sender="sdr/a"),
        progressed(TOPICS, "w", 1, {"agent": "a", "step": 1, "of": 2, "text": "half"}, "d", 1),
        refused(Refusal("gateway", "callbacks", "unsigned", "it is not signed", {"agent": "sdr/x"}), TOPICS.audit, 1, unwritten=2),
        Emit(TOPICS.dead_letters, b"w", encode(settled)),
    ]


def test_every_record_of_a_run_keeps_the_schema_of_its_subject() -> None:
    types = {(subject.role, subject.type) for subject in (keeps(record.topic, record.value or b"") for record in runs())}
    assert types >= {
        *(("messages", kind) for kind in (schemas.STARTED, schemas.REPLIED, schemas.FAILED, schemas.SETTLED, schemas.CANCELLED)),
        ("decisions", schemas.DECIDED),
        *(("results", kind) for kind in (schemas.WORKFLOW_COMPLETED, schemas.CANCELLED)),
        *(("dead_letters", kind) for kind in (schemas.REJECTED, schemas.FAILED)),
    }


@pytest.mark.parametrize("number", range(5))
def test_what_is_written_beside_the_job_keeps_the_schema_of_its_subject(number: int) -> None:
    emit = beside_the_job()[number]
    assert keeps(emit.topic, emit.value)


def test_definitions_keep_their_schemas() -> None:
    definition, roster = (next(one for one in subjects() if one.type == f"loopwright.agent.{kind}") for kind in ("definition", "roster"))
    values: list[Any] = [orjson.loads(value) for _, value in records_of(sdr_team())]
    assert all(jsonschema_rs.Draft7Validator(definition.json).is_valid(value) for value in values[:-1])
    assert jsonschema_rs.Draft7Validator(roster.json).is_valid(values[-1])
