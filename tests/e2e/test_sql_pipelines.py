"""Scripts of SQL as pipelines, on a real platform against a real PostgreSQL and real files: each record once, whatever is killed."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import psycopg
import pyarrow.dataset
import pytest
import requests

from loopwright import schemas
from loopwright.cli.sql import SqlOptions, sql
from loopwright.cli.stack import ROOT, stack_config
from loopwright.edges.kafka import Producer, bootstrap_servers, read_all
from loopwright.edges.platform import connect
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.flink_rest import FINAL
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import Conflict, NotFound, PlatformFailed
from loopwright.message import Message, emitted, read
from loopwright.settings import Settings, read_settings
from loopwright.testing.model_server import ModelServer
from tests.e2e.http_here import free_port
from tests.e2e.postgres_here import PASSWORD, Postgres
from tests.e2e.workflows import publish

pytestmark = pytest.mark.timeout(600)
SINK, FILES, SOURCE = ROOT / "sql/sinks/postgresql.sql", ROOT / "sql/sinks/parquet.sql", ROOT / "sql/sources/postgresql-cdc.sql"
LEADS = "CREATE TABLE leads (id bigint PRIMARY KEY, name text, email text, company_name text, lead_source text, job_title text)"
CHANGES = "loopwright.public.leads"
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    server = Postgres(free_port(), wal_level="logical")
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute((ROOT / "sql" / "sinks" / "postgresql-tables.sql").read_bytes())
            connection.execute(LEADS.encode())
            for number in (1, 2, 3):
                add_lead(connection, number)
        yield server
    finally:
        server.close()


def add_lead(connection: psycopg.Connection[Any], number: int, job_title: str | None = "Engineer") -> None:
    values = (number, f"Lead {number}", f"lead.{number}@example.com", "Example Ltd", "webinar", job_title)
    connection.execute("INSERT INTO leads VALUES (%s, %s, %s, %s, %s, %s)", values)


@pytest.fixture(scope="module")
def settings(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A platform of Kafka, Flink and Debezium: agents and gateway are somebody else's."""
    home = tmp_path_factory.mktemp("pipelines")
    (home / "password").write_text(f"{PASSWORD}\n")
    address = f"127.0.0.1:{database.port}/postgres"
    told = {
        "LOOPWRIGHT_HOME": str(home / "platform"),
        "LOOPWRIGHT_AGENTS_URL": "http://agents.example",
        "LOOPWRIGHT_GATEWAY_URL": "http://gateway.example",
        "LOOPWRIGHT_CDC__DATABASE": f"postgresql://postgres@{address}",
        "LOOPWRIGHT_CDC__PASSWORD_FILE": str(home / "password"),
        "LOOPWRIGHT_CDC__TABLES": '["public.leads"]',
        "POSTGRES_URL": f"jdbc:postgresql://{address}",
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD_FILE": str(home / "password"),
        "PARQUET_PATH": str(home / "parquet"),
        "PARQUET_EVERY": "1 s",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        yield read_settings()


@pytest.fixture(scope="module")
def config(settings: Settings) -> StackConfig:
    flink = FlinkConfig(checkpoint_interval_ms=1000)
    return replace(stack_config(settings), job=None, publish=lambda _: None, supervisor=False, flink=flink)


@pytest.fixture(scope="module")
def stack(config: StackConfig) -> Iterator[Stack]:
    found = Stack(config)
    try:
        found.up()
        yield found
    finally:
        Stack(config).down(wipe=True)


def run(settings: Settings, script: Path, **options: bool) -> None:
    assert sql(settings, SqlOptions(script, **options)) == 0


@pytest.fixture
def pipeline(settings: Settings, stack: Stack) -> Iterator[Callable[..., None]]:
    """Runs a pipeline; those that run in the end are cancelled."""
    yield lambda script, **options: run(settings, script, **options)
    for id_, state in stack.rest.jobs().items():
        if state not in FINAL:
            stack.rest.cancel(id_, 30)


def kill(stack: Stack, name: str) -> None:
    """SIGKILL for a part, and the others go on; then it is started again."""
    found = stack.processes.running(name)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    assert wait_for(lambda: stack.processes.running(name) is None, 20)
    Stack(stack.config).up()


def write(settings: Settings, topic: str, messages: list[Message]) -> None:
    with Producer(settings) as producer:
        producer.send_many(emitted(topic, message) for message in messages)


def decisions(first: int, last: int) -> list[Message]:
    data = {
        "outcome": "dispatch",
        "strategy": "llm",
        "reason": "it\x00 fits",
        "targets": [{"agent": "x"}],
        "tokens": {"prompt": 7},
        "cost": 0.5,
    }
    return [Message(f"d{n}", schemas.DECIDED, "/t", f"w{n % 50}", data, hop=n, time_ms=1) for n in range(first, last)]


def ends(first: int, last: int) -> list[Message]:
    data = {
        "document": {"a": "\x00"},
        "hops": 2,
        "path": ["x", "y"],
        "duration_ms": 9,
        "spend": {"calls": 1, "cost": 0.25},
        "reason": "done",
    }
    return [Message(f"e{n}", schemas.WORKFLOW_COMPLETED, "/t", f"w{n}", data, time_ms=1) for n in range(first, last)]


def places(settings: Settings, topic: str) -> set[tuple[int, int]]:
    return {(record.partition, record.offset) for record in read_all(settings, [topic])}


def rows(database: Postgres, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(query.encode()).fetchall()


def in_database(database: Postgres) -> Counter[tuple[int, int]]:
    return Counter(rows(database, "SELECT kafka_partition, kafka_offset FROM loopwright_decisions"))


def all_there(database: Postgres, settings: Settings) -> bool:
    return set(in_database(database)) == places(settings, settings.topics.decisions)


def job_of(said: str) -> str:
    return said.split("runs as job ")[1].split(",", maxsplit=1)[0]


def test_rows_stand_in_postgresql_once_though_the_taskmanager_is_killed(
    settings: Settings, stack: Stack, database: Postgres, pipeline: Callable[..., None], capsys: Output
) -> None:
    write(settings, settings.topics.decisions, decisions(0, 500))
    write(settings, settings.topics.results, ends(0, 100))
    pipeline(SINK)
    job = job_of(capsys.readouterr().out)
    assert wait_for(lambda: in_database(database) or None, 60)
    write(settings, settings.topics.decisions, decisions(500, 1500))
    kill(stack, "taskmanager-1")
    write(settings, settings.topics.decisions, decisions(1500, 2000))
    write(settings, settings.topics.results, ends(50, 150))
    assert wait_for(lambda: all_there(database, settings), 90), Counter(in_database(database).values())
    assert set(in_database(database).values()) == {1}
    assert stack.rest.job(job).state == "RUNNING"
    (first,) = rows(database, "SELECT agent, reason, prompt_tokens, cost FROM loopwright_decisions WHERE workflow = 'w7' AND hop = 7")
    assert first == ("x", "it fits", 7, 0.5)
    assert wait_for(lambda: rows(database, "SELECT count(*) FROM loopwright_results") == [(150,)], 60)
    (document,) = rows(database, "SELECT document FROM loopwright_results WHERE workflow = 'w60'")
    assert json.loads(document[0]) == {"a": "\x00"}


def test_the_password_is_printed_logged_and_shown_by_nobody(
    settings: Settings, stack: Stack, pipeline: Callable[..., None], capsys: Output
) -> None:
    pipeline(SINK)
    said = capsys.readouterr()
    run(settings, SINK, dry_run=True)
    dry = capsys.readouterr()
    assert "'password' = '***'" in dry.out
    job = job_of(said.out)
    shown = [requests.get(f"{stack.rest.url}/jobs/{job}{part}", timeout=10).text for part in ("", "/plan", "/config", "/exceptions")]
    logged = [path.read_text(errors="replace") for path in stack.layout.logs.rglob("*") if path.is_file()]
    assert not [text for text in (said.out, said.err, dry.out, *shown, *logged) if PASSWORD in text]
    holding = [path for path in stack.layout.home.rglob("*") if path.is_file() and path.suffix in (".sql", "") and _holds(path)]
    assert [path for path in holding if path.stat().st_mode & 0o077] == []


def _holds(path: Path) -> bool:
    return path.stat().st_size < 1_000_000 and PASSWORD.encode() in path.read_bytes()


def test_a_pipeline_that_was_stopped_goes_on_where_it_stopped(
    settings: Settings, stack: Stack, database: Postgres, pipeline: Callable[..., None], capsys: Output
) -> None:
    pipeline(SINK)
    with pytest.raises(Conflict, match="runs already"):
        pipeline(SINK)
    assert wait_for(lambda: all_there(database, settings), 60)
    pipeline(SINK, stop=True)
    assert "goes on from" in capsys.readouterr().out
    with pytest.raises(NotFound, match="does not run"):
        pipeline(SINK, stop=True)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(b"TRUNCATE loopwright_decisions")  # what was written before is not written again
    write(settings, settings.topics.decisions, decisions(2000, 2010))
    pipeline(SINK)
    assert wait_for(lambda: len(in_database(database)) >= 10, 60)
    assert len(in_database(database)) == 10
    pipeline(SINK, stop=True)
    pipeline(SINK, fresh=True)
    assert wait_for(lambda: all_there(database, settings), 60)


def test_a_pipeline_that_cannot_log_in_is_told_and_leaves_no_job(
    settings: Settings, stack: Stack, monkeypatch: pytest.MonkeyPatch, pipeline: Callable[..., None]
) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "wrong-password")
    with pytest.raises(PlatformFailed) as failed:
        pipeline(SINK, fresh=True)
    assert "password authentication failed" in failed.value.why
    assert "wrong-password" not in str(failed.value)
    assert [id_ for id_, state in stack.rest.jobs().items() if state not in FINAL] == []


def in_files(folder: Path) -> Counter[tuple[int, int]]:
    if not any(folder.rglob("part-*")):
        return Counter()
    table = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table(["kafka_partition", "kafka_offset"])
    return Counter((row["kafka_partition"], row["kafka_offset"]) for row in table.to_pylist())


def test_rows_stand_in_parquet_files_once_though_the_taskmanager_is_killed(
    settings: Settings, stack: Stack, pipeline: Callable[..., None]
) -> None:
    folder, topic = Path(os.environ["PARQUET_PATH"]) / "decisions", settings.topics.decisions
    pipeline(FILES)
    assert wait_for(lambda: in_files(folder) or None, 60)
    write(settings, topic, decisions(3000, 3500))
    kill(stack, "taskmanager-1")
    write(settings, topic, decisions(3500, 4000))
    assert wait_for(lambda: set(in_files(folder)) == places(settings, topic), 90)
    assert set(in_files(folder).values()) == {1}
    pipeline(FILES, stop=True)
    write(settings, topic, decisions(4000, 4100))
    pipeline(FILES)
    assert wait_for(lambda: set(in_files(folder)) == places(settings, topic), 60)
    assert set(in_files(folder).values()) == {1}
    dataset = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive")
    assert str(dataset.schema.field("logged_at").type) == "timestamp[ms]"


def test_a_choice_that_is_left_to_sql_becomes_a_decision(
    settings: Settings, pipeline: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = json.loads((ROOT / "tests" / "golden" / "v1" / "route.asked.json").read_text())
    asked["data"]["due_ms"] = 4_000_000_000_000
    publish(settings, "http://agents.example")
    with Producer(settings) as producer:
        producer.send(settings.topics.questions, asked["workflowid"].encode(), json.dumps(asked).encode())
    answer = json.dumps({"agent": "active-outreach", "confidence": 0.8, "reason": "it fits"})
    with ModelServer(lambda _: answer) as model:
        monkeypatch.setenv("LOOPWRIGHT_LLM_BASE_URL", model.base_url)
        monkeypatch.setenv("LOOPWRIGHT_LLM_MODEL", "double")
        run(read_settings(), ROOT / "sql" / "orchestrate.sql")
        made = wait_for(lambda: decided(settings, asked["data"]["decision"]), 60)
        assert made, model.questions
    assert (made.workflow, made.data["targets"], made.data["reason"]) == (asked["workflowid"], asked["data"]["targets"], "it fits")


def decided(settings: Settings, id_: str) -> Message | None:
    found = map(read, read_all(settings, [settings.topics.decisions]))
    return next((message for message in found if isinstance(message, Message) and message.id == id_), None)


def started(settings: Settings) -> Counter[str]:
    found = [read(record) for record in read_all(settings, [settings.topics.messages]) if record.value]
    return Counter(message.workflow for message in found if message.type == schemas.STARTED)


def caught_up(settings: Settings) -> bool:
    """Whether the pipeline has taken in all that stands in the topic of changes."""
    told = {"bootstrap.servers": bootstrap_servers(settings), "group.id": f"loopwright-{CHANGES}", "enable.auto.commit": False}
    consumer = ck.Consumer(told)
    try:
        partitions = [ck.TopicPartition(CHANGES, number) for number in consumer.list_topics(CHANGES, 10).topics[CHANGES].partitions]
        ends = {one.partition: consumer.get_watermark_offsets(one, 10)[1] for one in partitions}
        return all(one.offset >= ends[one.partition] or ends[one.partition] == 0 for one in consumer.committed(partitions, 10))
    finally:
        consumer.close()


def snapshots(settings: Settings) -> int:
    """How often the first row was read."""
    changes = [json.loads(record.value) for record in read_all(settings, [CHANGES]) if record.value]
    return sum(change["op"] == "r" and change["after"]["id"] == 1 for change in changes)


def test_each_new_row_of_a_table_starts_one_workflow_whatever_is_read_again(
    settings: Settings, stack: Stack, database: Postgres, pipeline: Callable[..., None]
) -> None:
    pipeline(SOURCE)
    expected = {f"leads-{number}" for number in (1, 2, 3)}
    assert wait_for(lambda: set(started(settings)) >= expected, 90), started(settings)
    with psycopg.connect(database.url, autocommit=True) as connection:
        add_lead(connection, 4, job_title=None)
        connection.execute(b"UPDATE leads SET name = 'Other' WHERE id = 1")
        connection.execute(b"DELETE FROM leads WHERE id = 2")
        assert wait_for(lambda: "leads-4" in started(settings), 60)
        kill(stack, connect.NAME)
        add_lead(connection, 5)
        assert wait_for(lambda: "leads-5" in started(settings), 60)
        (stack.layout.home / "data" / connect.NAME / "offsets").unlink()  # it takes its snapshot again
        kill(stack, connect.NAME)
        assert wait_for(lambda: snapshots(settings) == 2, 60)
        kill(stack, "taskmanager-1")
        add_lead(connection, 6)
    assert wait_for(lambda: "leads-6" in started(settings) and caught_up(settings), 90)
    assert started(settings) == Counter({f"leads-{number}": 1 for number in range(1, 7)})
    (fourth,) = [m for m in map(read, read_all(settings, [settings.topics.messages])) if m.workflow == "leads-4"]
    assert fourth.data == {
        "team": settings.team,
        "document": {"name": "Lead 4", "email": "lead.4@example.com", "company_name": "Example Ltd", "lead_source": "webinar"},
    }
