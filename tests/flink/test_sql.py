"""The statements in sql/ on real topics: every view gives the rows that the job wrote."""

import re
from pathlib import Path
from typing import Any

from pyflink.table import EnvironmentSettings, TableEnvironment

from loopwright.audit import Refusal, refused
from loopwright.edges.platform.jars import Jars
from tests.flink.orchestra import PATH, Orchestra
from tests.unit.sdr_team import LEAD

ROOT = Path(__file__).resolve().parents[2]


def statements(text: str, **variables: str) -> list[str]:
    bare = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
    filled = re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], bare)
    return [statement.strip() for statement in filled.split(";\n") if statement.strip()]


def rows(tables: TableEnvironment, query: str) -> list[tuple[Any, ...]]:
    with tables.execute_sql(query).collect() as found:
        return [tuple(row) for row in found]


def test_each_view_of_init_sql_shows_what_happened(orchestra: Orchestra, jars: Jars) -> None:
    orchestra.define(*orchestra.team())
    orchestra.run()
    orchestra.send("w", LEAD)
    orchestra.producer.send(orchestra.settings.topics.messages, b"x", b"not json")
    orchestra.results(1)
    topics = orchestra.settings.topics
    audit = refused(Refusal("gateway", "callbacks", "unsigned", "it is not signed", {"agent": "sdr/x", "tenant": "acme"}), topics.audit, 1)
    orchestra.producer.send(audit.topic, audit.key, audit.value)
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    tables.get_config().set("pipeline.jars", ";".join(path.as_uri() for path in jars.paths("flink")))
    for statement in statements(
        (ROOT / "sql" / "init.sql").read_text(),
        BOOTSTRAP_SERVERS=orchestra.settings.kafka.bootstrap_servers,
        BOUNDED_MODE="latest-offset",
        MESSAGES=topics.messages,
        DECISIONS=topics.decisions,
        RESULTS=topics.results,
        DEAD_LETTERS=topics.dead_letters,
        AUDIT=topics.audit,
    ):
        tables.execute_sql(statement)
    decided = rows(tables, "SELECT `hop`, outcome, strategy, agent FROM decisions WHERE workflow = 'w'")
    assert sorted(decided) == [
        (1, "dispatch", "only-candidate", "lead-ingestion"),
        (2, "dispatch", "only-candidate", "lead-scoring"),
        (3, "dispatch", "embedding", "active-outreach"),
        (4, "dispatch", "only-candidate", "send-email"),
        (5, "complete", "end", None),
    ]
    assert {row[0] for row in rows(tables, "SELECT agent, attempts FROM replies")} == set(PATH)
    assert rows(tables, "SELECT workflow, ended, hops FROM ends") == [("w", "completed", 4)]
    assert rows(tables, "SELECT cause, stage, `topic` FROM dead_letters") == [("invalid-json", "parse", topics.messages)]
    refusals = rows(tables, "SELECT workflow, `where`, what, cause, why, agent, tenant FROM refusals")
    assert refusals == [("-", "gateway", "callbacks", "unsigned", "it is not signed", "sdr/x", "acme")]
    assert {(row[0], row[1]) for row in rows(tables, "SELECT agent, calls FROM agent_work")} >= {(name, 1) for name in PATH}
