"""Loopwright in the benchmark: the model is asked before every hop, with questions as long as the others', and the last agent ends it."""

import random
from typing import Any

import orjson

from bench.peers.loopwright import definitions, start, variables
from bench.simulators import document_in
from bench.workload import AGENTS, HOPS, asked_about, completion, output, prompt
from loopwright.registry.definition import AgentDefinition
from loopwright.schemas import WORKFLOW_COMPLETED
from loopwright.settings import Routing, Settings
from loopwright.testing.simulation import Simulation


def worked() -> tuple[list[dict[str, Any]], list[str], list[bytes]]:
    """One lead, worked in the simulation: the questions to the model, the agents called, the results."""
    questions, called = list[dict[str, Any]](), list[str]()

    def model(payload: dict[str, Any]) -> dict[str, Any]:
        questions.append(payload)
        answer = completion(asked_about(payload))
        return {"ok": True, "content": answer["choices"][0]["message"]["content"], "model": "m", "tokens": {"prompt": 1, "completion": 1}}

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        name = payload["url"].rpartition("/")[2]
        assert document_in(orjson.loads(payload["body"]))["lead"] == 7
        called.append(name)
        return {"status": 200, "headers": {}, "body": orjson.dumps(output(name)).decode()}

    settings = Settings(team="bench", llm_base_url="http://simulators/v1", routing=Routing(ask_when_only_one=True))
    team = [AgentDefinition.model_validate(one) for one in definitions("http://simulators")]
    simulation = Simulation(settings, team, agent, model)
    emit = start(7, settings, simulation.now_ms)
    simulation.write(emit.topic, emit.value or b"", emit.key)
    simulation.run(random.Random(1), within_ms=60_000)
    results = [record.value or b"" for record in simulation.logs[settings.topics.results]]
    return questions, called, results


def test_the_model_is_asked_before_every_hop_and_every_agent_is_called_once() -> None:
    questions, called, results = worked()
    assert len(questions) == HOPS
    assert called == list(AGENTS)
    assert [orjson.loads(result)["type"] for result in results] == [WORKFLOW_COMPLETED]


def test_its_questions_are_as_long_as_those_of_the_other_systems() -> None:
    first, *_ = worked()[0]
    ours = len(orjson.dumps([first["messages"], first["schema"]]))
    asked = prompt(asked_about(first))
    theirs = len(orjson.dumps([asked["messages"], asked["response_format"]["json_schema"]["schema"]]))
    assert 0.95 < ours / theirs < 1.05


def test_the_job_is_told_to_ask_even_where_one_agent_is_left() -> None:
    assert variables("http://simulators")["LOOPWRIGHT_ROUTING__ASK_WHEN_ONLY_ONE"] == "true"
