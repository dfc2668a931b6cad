"""The statements of sql/init.sql on real topics: every view gives the rows that are to be seen."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest
from pyflink.table import EnvironmentSettings, TableEnvironment

from loopwright import schemas
from loopwright.audit import Refusal, refused
from loopwright.edges.kafka import TopicSpec, ensure_topics
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.sql import Reading, variables
from loopwright.edges.platform.sql_script import filled
from loopwright.message import Message, encode
from loopwright.settings import Settings
from tests.flink.orchestra import PATH, Orchestra
from tests.unit.sdr_team import LEAD

INIT = Path(__file__).resolve().parents[2] / "sql" / "init.sql"
MINUTE_MS = 60_000
Rows = Callable[[str], list[tuple[Any, ...]]]


def tables_of(settings: Settings, jars: Jars) -> Rows:
    """Asks the tables and views of init.sql over the topics of these settings."""
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    tables.get_config().set("pipeline.jars", ";".join(path.as_uri() for path in jars.paths("flink")))
    tables.get_config().set("table.local-time-zone", "UTC")
    text = filled(INIT.read_text(), variables(settings, settings.kafka.bootstrap_servers, Reading()), INIT.name)
    for statement in text.split(";\n"):
        if statement.strip():
            tables.execute_sql(statement)

    def rows(query: str) -> list[tuple[Any, ...]]:
        with tables.execute_sql(query).collect() as found:
            return [tuple(row) for row in found]

    return rows


def test_each_view_of_init_sql_shows_what_happened(orchestra: Orchestra, jars: Jars) -> None:
    orchestra.define(*orchestra.team())
    orchestra.run()
    orchestra.send("w", LEAD)
    orchestra.producer.send(orchestra.settings.topics.messages, b"x", b"not json")
    orchestra.results(1)
    topics = orchestra.settings.topics
    audit = refused(Refusal("gateway", "callbacks", "unsigned", "it is not signed", {"agent": "sdr/x", "tenant": "acme"}), topics.audit, 1)
    orchestra.producer.send(audit.topic, audit.key, audit.value)
    rows = tables_of(orchestra.settings, jars)

    decided = rows("SELECT `hop`, outcome, strategy, agent FROM decisions WHERE workflow = 'w'")
    assert sorted(decided) == [
        (1, "dispatch", "only-candidate", "lead-ingestion"),
        (2, "dispatch", "only-candidate", "lead-scoring"),
        (3, "dispatch", "embedding", "active-outreach"),
        (4, "dispatch", "only-candidate", "send-email"),
        (5, "complete", "end", None),
    ]
    assert {row[0] for row in rows("SELECT agent, attempts FROM replies")} == set(PATH)
    assert rows("SELECT workflow, ended, hops FROM ends") == [("w", "completed", 4)]
    assert rows("SELECT cause, stage, `topic` FROM dead_letters") == [("invalid-json", "parse", topics.messages)]
    assert rows("SELECT cause, letters FROM dead_letters_per_cause") == [("invalid-json", 1)]
    refusals = rows("SELECT workflow, `where`, what, cause, why, agent, tenant FROM refusals")
    assert refusals == [("-", "gateway", "callbacks", "unsigned", "it is not signed", "sdr/x", "acme")]
    assert {row[:2] for row in rows("SELECT agent, calls FROM agent_work")} >= {(name, 1) for name in PATH}
    assert {row[0] for row in rows("SELECT agent FROM agent_latency WHERE p50_ms <= p99_ms")} == set(PATH)
    assert ("active-outreach", "embedding", 1, 0) in rows("SELECT * FROM decisions_per_agent")
    story = rows("SELECT what, agent FROM timeline WHERE workflow = 'w' ORDER BY logged_at LIMIT 3")
    assert story == [("workflow.started", None), ("route.dispatch", PATH[0]), ("agent.replied", PATH[0])]
    assert rows("SELECT record, type FROM agent_messages WHERE workflow = 'x'") == [("not json", None)]
    assert {row[0] for row in rows("SELECT definition FROM agent_definitions")} >= {f"sdr/{name}@1" for name in PATH}
    assert rows("SELECT * FROM stuck") == []


@pytest.fixture
def told(broker: str, kafka: Settings) -> tuple[Settings, Callable[[str, Message], None]]:
    """Topics whose times are told by whoever writes, and a way to write: a message is logged when it says."""
    topics = kafka.topics.model_copy(update={name: f"{topic}-told" for name, topic in kafka.topics.model_dump().items()})
    settings = kafka.model_copy(update={"topics": topics})
    ensure_topics(settings, [TopicSpec(name, config={"message.timestamp.type": "CreateTime"}) for name in topics.model_dump().values()])
    producer = ck.Producer({"bootstrap.servers": broker})

    def tell(topic: str, message: Message) -> None:
        producer.produce(topic, encode(message), message.workflow.encode(), timestamp=message.time_ms)
        assert producer.flush(30) == 0

    return settings, tell


def decision(workflow: str, hop: int, at_ms: int, agent: str, **more: Any) -> Message:
    data = {"outcome": "dispatch", "strategy": "model", "reason": "it fits", "targets": [{"agent": agent}], **more}
    return Message(f"{workflow}-{hop}", schemas.DECIDED, "/t", workflow, data, hop=hop, time_ms=at_ms)


def test_what_is_stuck_goes_in_circles_or_costs_money_is_shown(told: Any, jars: Jars) -> None:
    settings, tell = told
    topics, now = settings.topics, int(time.time() * 1000)

    def begin(workflow: str, at_ms: int) -> None:
        tell(topics.messages, Message(workflow, schemas.STARTED, "/t", workflow, {"document": {}}, time_ms=at_ms))

    begin("old", now - 30 * MINUTE_MS)
    begin("young", now)
    begin("ended", now - 30 * MINUTE_MS)
    tell(topics.results, Message("e", schemas.WORKFLOW_COMPLETED, "/t", "ended", {"hops": 1}, time_ms=now - 29 * MINUTE_MS))
    begin("parked", now - 30 * MINUTE_MS)
    tell(topics.decisions, decision("parked", 1, now - 20 * MINUTE_MS, "x", outcome="park"))
    for hop, agent in enumerate(["writer", "critic", "writer", "critic"], 1):
        tokens = {"prompt": 10 * hop, "completion": 1}
        tell(topics.decisions, decision("circle", hop, now - 60_000 + hop, agent, tokens=tokens, cost=0.5, calls=1))
    tell(
        topics.decisions, decision("circle", 4, now - 59_000, "critic", tokens={"prompt": 1000}, cost=9, calls=1)
    )  # a second one for its hop
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.25}
    reply = {"agent": "critic", "attempts": 1, "duration_ms": 7, "usage": usage}
    tell(topics.messages, Message("r", schemas.REPLIED, "/t", "circle", reply, hop=4, branch="0", time_ms=now - 58_000))
    odd = {"outcome": 7, "targets": {}, "tokens": [1], "cost": "much", "calls": 1.5, "strategy": None, "reason": {"a": 1}}
    tell(topics.decisions, Message("o", schemas.DECIDED, "/t", "odd", odd, time_ms=now))
    tell(topics.messages, Message("p", schemas.REPLIED, "/t", "odd", {"duration_ms": "long", "usage": 3, "attempts": 2**40}, time_ms=now))
    rows = tables_of(settings, jars)

    assert rows("SELECT outcome, cost FROM decisions WHERE workflow = 'odd'") == [("7", None)]
    assert rows("SELECT duration_ms, attempts FROM replies WHERE workflow = 'odd'") == [(None, None)]
    assert sorted(rows("SELECT workflow, parked FROM stuck")) == [("old", False), ("parked", True)]
    circles = rows("SELECT workflow, first_agent, second_agent, from_hop, to_hop FROM ping_pong")
    assert circles == [("circle", "writer", "critic", 1, 4)]
    assert ("circle", 104, 2.0, 7, 0.25) in rows("SELECT * FROM spend_per_workflow")
    assert sorted(rows("SELECT * FROM spend_per_agent WHERE agent IN ('critic', 'writer')")) == [
        ("critic", 62, 1.0, 7, 0.25),
        ("writer", 42, 1.0, 0, 0.0),
    ]
