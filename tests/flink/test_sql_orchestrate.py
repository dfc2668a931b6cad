"""sql/orchestrate.sql beside the running job: SQL makes the choices of a team, the job does the rest."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyflink.table import EnvironmentSettings, TableEnvironment

from loopwright import schemas
from loopwright.cli import dlq
from loopwright.cli.sql import values_of
from loopwright.deadletter import original_bytes
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.sql import Reading
from loopwright.edges.platform.sql_script import filled, read_script
from loopwright.message import Message
from loopwright.settings import Routing
from loopwright.testing.model_server import ModelServer
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, Orchestra
from tests.unit.sdr_team import LEAD

SQL = Path(__file__).resolve().parents[2] / "sql"
KEY = "sk-a-key-for-the-model"
Answers = list[str]


def says(agent: str, **more: Any) -> str:
    return json.dumps({"agent": agent, "confidence": 0.8, "reason": "it fits", **more})


@pytest.fixture
def model() -> Iterator[tuple[ModelServer, Answers]]:
    """A model that gives these answers, the last one again and again; it knows nothing of schemas, as ML_PREDICT does not."""
    answers: Answers = []

    def next_answer(_request: dict[str, Any]) -> str:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with ModelServer(next_answer, api_key=KEY) as server:
        yield server, answers


@pytest.fixture
def orchestrated(orchestra: Orchestra, jars: Jars, model: tuple[ModelServer, Answers]) -> Iterator[Callable[[], None]]:
    """The job, which leaves the team's choices to others, and those others. To be begun once the team is published."""
    server, _ = model
    jars.sync(on_demand=["model"])
    orchestra.settings = orchestra.settings.model_copy(
        update={
            "routing": Routing(elsewhere=("sdr",), elsewhere_ms=600_000),
            "llm_base_url": server.base_url,
            "llm_model": "double",
            "llm_api_key": type(orchestra.settings.llm_api_key)(KEY),
        }
    )
    begun: list[Any] = []

    def begin() -> None:
        orchestra.run()
        begun.append(execute(orchestra, jars))

    yield begin
    for client in begun:
        client.cancel().result()


def execute(orchestra: Orchestra, jars: Jars) -> Any:
    """Run init.sql and orchestrate.sql as the SQL client would; the client of the job that they leave."""
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    needed = [*jars.paths("flink"), *jars.paths("model")]
    for name, value in {
        "pipeline.jars": ";".join(path.as_uri() for path in needed),
        "table.local-time-zone": "UTC",
        "execution.checkpointing.interval": "1 s",
        "parallelism.default": "1",
    }.items():
        tables.get_config().set(name, value)
    values = values_of(orchestra.settings, Reading(follow=True))
    last: Any = None
    for path in (SQL / "init.sql", SQL / "orchestrate.sql"):
        for statement in filled(read_script(path).text, values, path.name).split(";\n"):
            if statement.strip():
                last = tables.execute_sql(statement)
    return last.get_job_client()


def decided(orchestra: Orchestra, hop: int) -> Message:
    return until(
        f"a decision for hop {hop}",
        lambda: next((m for m in orchestra.said(orchestra.settings.topics.decisions, "w") if m.hop == hop), None),
    )


def test_a_lead_is_routed_by_sql_and_worked_by_its_agents_to_the_end(
    orchestra: Orchestra, orchestrated: Callable[[], None], model: tuple[ModelServer, Answers]
) -> None:
    server, answers = model
    answers.append("Here you are:\n```json\n" + says("active-outreach") + "\n```")
    orchestra.define(*orchestra.team())
    orchestrated()
    orchestra.send("w", LEAD)
    (result,) = orchestra.results(1)
    assert (result.type, result.data["path"]) == (schemas.WORKFLOW_COMPLETED, PATH)
    choice = decided(orchestra, 3)
    assert (choice.data["strategy"], choice.data["model"], choice.data["confidence"]) == ("ml_predict", "double", 0.8)
    assert (choice.data["reason"], choice.data["calls"]) == ("it fits", 1)
    (asked,) = orchestra.said(orchestra.settings.topics.questions, "w")
    assert (choice.id, choice.causation, choice.traceparent) == (asked.data["decision"], asked.id, asked.traceparent)
    assert choice.data["targets"] == [target for target in asked.data["targets"] if target["agent"] == "active-outreach"]
    assert [decided(orchestra, hop).data["strategy"] for hop in (1, 2, 4)] == ["only-candidate"] * 3
    assert result.data["spend"]["calls"] == 1
    report = orchestra.verified()
    assert report.holds, report.findings
    (question,) = server.questions
    system, user = (message["content"] for message in question["messages"])
    assert all(f'"name": "{name}"' in system for name in PATH)
    assert '"active-outreach"' in user
    assert LEAD["email"] not in user


def test_an_agent_that_is_no_candidate_leaves_a_dead_letter_and_its_retry_asks_anew(
    orchestra: Orchestra, orchestrated: Callable[[], None], model: tuple[ModelServer, Answers]
) -> None:
    _, answers = model
    answers += [says("admin"), says("nurture-campaign")]
    orchestra.define(*orchestra.team())
    orchestrated()
    orchestra.send("w", LEAD)
    topics = orchestra.settings.topics
    (letter,) = until("a dead letter", lambda: orchestra.said(topics.dead_letters))
    assert (letter.type, letter.workflow, letter.data["cause"], letter.data["topic"]) == (
        schemas.REJECTED,
        "w",
        "unknown-agent",
        topics.questions,
    )
    assert "admin" in letter.data["why"]
    (asked,) = orchestra.said(topics.questions, "w")
    assert json.loads(original_bytes(letter.data))["id"] == asked.id
    until("the workflow is parked", lambda: [m for m in orchestra.said(topics.messages, "w") if m.type == schemas.SETTLED])
    (known,) = dlq.letters(orchestra.settings)
    assert known.state.value == "open"
    assert dlq.retry(orchestra.settings, dlq.Chosen(known.position), "", "", as_json=True) == 0
    (result,) = orchestra.results(1)
    assert result.data["path"] == ["lead-ingestion", "lead-scoring", "nurture-campaign", "send-email"]
    assert orchestra.verified().holds


@pytest.mark.parametrize(
    ("answer", "cause"), [("I cannot say.", "unusable-answer"), ('{"agent": 7}', "unknown-agent"), ("", "unusable-answer")]
)
def test_an_answer_that_is_none_parks_the_workflow(
    orchestra: Orchestra, orchestrated: Callable[[], None], model: tuple[ModelServer, Answers], answer: str, cause: str
) -> None:
    model[1].append(answer)
    orchestra.define(*orchestra.team())
    orchestrated()
    orchestra.send("w", LEAD)
    (letter,) = until("a dead letter", lambda: orchestra.said(orchestra.settings.topics.dead_letters))
    assert letter.data["cause"] == cause
    assert decided(orchestra, 3).data["outcome"] == "park"


def test_none_ends_a_workflow(orchestra: Orchestra, orchestrated: Callable[[], None], model: tuple[ModelServer, Answers]) -> None:
    model[1].append(says("none", confidence=7))
    orchestra.define(*orchestra.team())
    orchestrated()
    orchestra.send("w", LEAD)
    (result,) = orchestra.results(1)
    assert (result.type, result.data["path"]) == (schemas.WORKFLOW_COMPLETED, PATH[:2])
    choice = decided(orchestra, 3)
    assert (choice.data["outcome"], choice.data["targets"], choice.data["confidence"]) == ("complete", [], None)
