import asyncio
from typing import Any

import pytest

from loopwright.agent import Agent, Task, create_app
from loopwright.agent.card import card, team_card
from loopwright.agent.incoming import Incoming
from loopwright.agent.progress import progress_url
from loopwright.agent.work import do
from loopwright.errors import InvalidDefinition, InvalidDocument, Unreachable
from loopwright.registry.contract import Contract
from loopwright.registry.definition import AgentDefinition


def definition(name: str = "adder", **other: object) -> AgentDefinition:
    fields: dict[str, object] = {
        "name": name,
        "version": 3,
        "description": "Adds one.",
        "input": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "output": {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]},
        "endpoint": f"http://127.0.0.1:8801/agents/{name}",
    }
    return AgentDefinition.model_validate({**fields, **other})


def agent_that(function: Any, **other: object) -> Agent:
    agent = Agent(definition(**other))
    agent.handler(function)
    return agent


def nothing(_task: Task, _step: int, _of: int, _text: str) -> None: ...


def done(agent: Agent, **payload: object) -> Any:
    return asyncio.run(do(agent, Incoming("k", dict(payload), workflow="w"), nothing))


def test_async_and_plain_handlers_both_work() -> None:
    async def slow(task: Task) -> dict[str, object]:
        await task.progress(1, 1)
        return {"sum": task.input["n"] + 1}

    assert done(agent_that(slow), n=1).body == b'{"sum":2}'
    assert done(agent_that(lambda task: {"sum": task.input["n"] + 1}), n=1).body == b'{"sum":2}'


def test_a_handler_sees_only_what_its_contract_declares() -> None:
    seen: list[object] = []

    def look(task: Task) -> dict[str, object]:
        seen.append(task.input)
        return {"sum": 0}

    done(agent_that(look), n=1, secret="x")
    assert seen == [{"n": 1}]


def test_completion_and_usage_travel_in_headers() -> None:
    def work(task: Task) -> dict[str, object]:
        task.complete()
        task.usage(prompt_tokens=10, cost=0.5)
        task.usage(prompt_tokens=5)
        return {"sum": 0}

    answer = done(agent_that(work), n=1)
    assert answer.headers["loopwright-next"] == "complete"
    assert answer.headers["loopwright-usage"] == '{"prompt_tokens":15,"completion_tokens":0,"cost":0.5}'


@pytest.mark.parametrize("output", [{"sum": "two"}, {}, None, [1], {"sum": 1, "when": object()}])
def test_an_output_that_breaks_the_contract_is_the_agents_own_fault(output: object) -> None:
    answer = done(agent_that(lambda _task: output), n=1)
    assert answer.status == 500
    assert b"output-contract" in answer.body


def test_the_field_at_fault_is_named() -> None:
    assert b"$.sum" in done(agent_that(lambda _task: {"sum": "two"}), n=1).body


@pytest.mark.parametrize(
    ("raised", "status"),
    [(Unreachable("the model is away"), 503), (InvalidDocument("no such address"), 422), (ValueError("secret detail"), 500)],
)
def test_what_a_handler_raises_says_whether_to_try_again(raised: Exception, status: int) -> None:
    def fail(_task: Task) -> dict[str, object]:
        raise raised

    answer = done(agent_that(fail), n=1)
    assert answer.status == status
    assert b"secret detail" not in answer.body


def test_an_agent_without_a_handler_cannot_be_served() -> None:
    with pytest.raises(InvalidDefinition, match="no handler"):
        create_app([Agent(definition())])


def test_an_agent_has_one_handler() -> None:
    with pytest.raises(InvalidDefinition, match="two handlers"):
        agent_that(lambda _task: {}).handler(lambda _task: {})


def test_two_agents_do_not_share_a_path() -> None:
    both = [agent_that(lambda _task: {}, name="a", endpoint="http://h/x"), agent_that(lambda _task: {}, name="b", endpoint="http://g/x")]
    with pytest.raises(InvalidDefinition, match="share a path"):
        create_app(both)


def test_payloads_that_say_the_same_have_one_fingerprint() -> None:
    assert Incoming("k", {"a": 1, "b": [2]}).fingerprint == Incoming("k", {"b": [2], "a": 1}).fingerprint
    assert Incoming("k", {"a": 1}).fingerprint != Incoming("k", {"a": "1"}).fingerprint


def test_a_call_can_be_stored_and_taken_up_again() -> None:
    call = Incoming("k", {"a": 1}, "w", 3, "main", "t", "http://x/callbacks/w/3/main", "", 5)
    assert Incoming.from_json(call.to_json()) == call


@pytest.mark.parametrize(
    ("callback", "progress", "expected"),
    [
        ("http://g:1/callbacks/w/3/main", "", "http://g:1/progress/w/3"),
        ("http://g:1/base/callbacks/a%2Fb/3/main", "", "http://g:1/base/progress/a%2Fb/3"),
        ("http://g:1/callbacks/w/3/main", "http://p/here", "http://p/here"),
        ("http://g:1/elsewhere", "", ""),
        ("", "", ""),
    ],
)
def test_progress_goes_where_the_callback_points(callback: str, progress: str, expected: str) -> None:
    assert progress_url(Incoming("k", {}, callback=callback, progress=progress)) == expected


CARD = Contract(  # what A2A 1.0 asks of an AgentCard
    {
        "type": "object",
        "required": [
            "name",
            "description",
            "version",
            "supportedInterfaces",
            "capabilities",
            "defaultInputModes",
            "defaultOutputModes",
            "skills",
        ],
        "properties": {
            **{key: {"type": "string", "minLength": 1} for key in ("name", "description", "version")},
            "supportedInterfaces": {"type": "array", "minItems": 1, "items": {"required": ["url", "protocolBinding", "protocolVersion"]}},
            "capabilities": {"type": "object"},
            **{key: {"type": "array", "items": {"type": "string"}} for key in ("defaultInputModes", "defaultOutputModes")},
            "skills": {"type": "array", "minItems": 1, "items": {"required": ["id", "name", "description", "tags"]}},
        },
    }
)


def test_cards_have_what_a2a_asks_for() -> None:
    agents = [agent_that(lambda _task: {}, name=name) for name in ("a", "b")]
    assert CARD.errors(card(agents[0])) == []
    assert CARD.errors(team_card(agents, "http://127.0.0.1:8801/")) == []
    assert team_card(agents[:1], "http://127.0.0.1:8801/") == card(agents[0])
