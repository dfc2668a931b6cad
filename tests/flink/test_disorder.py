"""The job when records come twice, too early, too late, under a wrong key or against each other; and a loop that would never end."""

from typing import Any

import orjson

from loopwright import schemas
from loopwright.deadletter import original_bytes
from loopwright.message import Message, encode
from loopwright.registry.definition import AgentDefinition
from loopwright.settings import Limits, Routing
from loopwright.testing.agent_behaviours import answering, hanging
from loopwright.testing.model_server import ModelServer
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, Orchestra
from tests.unit.sdr_team import LEAD, OUTPUTS


def start_of(workflow: str, document: dict[str, Any]) -> Message:
    return Message(workflow, schemas.STARTED, "/test", workflow, {"document": document})


def reply(workflow: str, hop: int, output: dict[str, Any]) -> Message:
    data = {"agent": "lead-scoring", "version": 1, "branch": "0", "attempts": 1, "output": output, "next": "continue"}
    return Message("forged", schemas.REPLIED, "/test", workflow, data | {"pins": {}, "decision": {}}, hop)


def test_what_comes_twice_early_late_or_against_what_is_known_changes_nothing(orchestra: Orchestra) -> None:
    topics, send = orchestra.settings.topics, orchestra.producer.send
    orchestra.agents.agent("lead-ingestion", hanging())
    orchestra.define(*orchestra.team())
    orchestra.run()
    orchestra.send("w", LEAD)
    until("the call hangs", lambda: orchestra.agents.calls("lead-ingestion"))
    other = encode(start_of("w", LEAD | {"name": "Eve"}))
    send(topics.messages, b"w", other)
    orchestra.send_all([start_of("w", LEAD), reply("w", 3, {"score": 1}), reply("nobody", 1, {"score": 1})])
    orchestra.agents.agent("lead-ingestion", answering(OUTPUTS["lead-ingestion"]))
    orchestra.send("next", LEAD)
    orchestra.results(1)
    letters = {m.data["cause"]: original_bytes(m.data) for m in orchestra.said(topics.dead_letters)}
    assert letters == {"conflicting-start": other, "unknown-workflow": encode(reply("nobody", 1, {"score": 1}))}
    orchestra.send_all([reply("next", 1, {"score": 1}), reply("next", 9, {"score": 1}), start_of("next", LEAD)])
    orchestra.send("last", LEAD)
    orchestra.results(2)
    expected = {"duplicate_start": 2, "out_of_order": 1, "after_end": 2, "contradiction": 2}
    until("each is counted", lambda: expected.items() <= orchestra.cluster.counters(orchestra.job, "route").items())
    assert [m.workflow for m in orchestra.said(topics.results)].count("next") == 1


def test_documents_without_a_key_and_in_every_partition_are_each_worked_once(orchestra: Orchestra) -> None:
    topics = orchestra.settings.topics
    orchestra.define(*orchestra.team())
    orchestra.run()
    for number in range(12):
        orchestra.producer.send(topics.messages, f"key-{number}".encode(), orjson.dumps(LEAD | {"name": f"Lead {number}"}))
    results = orchestra.results(12)
    assert {tuple(result.data["path"]) for result in results} == {tuple(PATH)}
    assert len({result.workflow.split("-")[-2] for result in results}) > 1, "all stood in one partition"
    assert len({result.workflow for result in results}) == 12
    report = orchestra.verified()
    assert (report.holds, report.counts["completed"], report.counts["duplicates_fenced"]) == (True, 12, 0)


def turn(name: str, other: str, url: str) -> AgentDefinition:
    """An agent that runs when it is its turn, and makes it the other one's."""
    whole = {"type": "integer"}
    accepts = {"type": "object", "required": [f"for_{name}"], "properties": {f"for_{name}": whole}}
    gives = {"type": "object", "required": [f"for_{other}"], "properties": {f"for_{other}": whole, f"for_{name}": {"type": "null"}}}
    return AgentDefinition(name=name, team="sdr", version=1, description=name, input=accepts, output=gives, endpoint=f"{url}/agents/{name}")


def test_two_agents_that_hand_the_work_to_and_fro_are_stopped(orchestra: Orchestra) -> None:
    limits = Limits(hops=6)
    with ModelServer() as model:
        orchestra.settings = orchestra.settings.model_copy(
            update={"llm_base_url": model.base_url, "limits": limits, "routing": Routing(ask_when_only_one=True)}
        )
        for name, other in (("ping", "pong"), ("pong", "ping")):
            counting = lambda given, name=name, other=other: {f"for_{other}": given[f"for_{name}"] + 1, f"for_{name}": None}  # noqa: E731
            orchestra.agents.agent(name, answering(counting))
        orchestra.define(turn("ping", "pong", orchestra.agents.url), turn("pong", "ping", orchestra.agents.url))
        orchestra.run()
        orchestra.send("w", {"for_ping": 1})

        def parked() -> list[Message]:
            decided = orchestra.said(orchestra.settings.topics.decisions, "w")
            return [message for message in decided if message.data["outcome"] == "park"]

        (decision,) = until("it is parked", parked)
        assert decision.data["reason"] == "hop limit: 6 decisions made, 6 allowed"
        assert len(model.questions) == 6
        assert [len(orchestra.agents.calls(name)) for name in ("ping", "pong")] == [3, 3]
        for name, other in (("ping", "pong"), ("pong", "ping")):
            orchestra.agents.agent(name, answering({f"for_{other}": 1, f"for_{name}": None}))
        orchestra.send("same", {"for_ping": 1})
        (result,) = orchestra.results(1)
        assert (result.data["path"], result.data["reason"]) == (["ping", "pong"], "no agent is left to run")
