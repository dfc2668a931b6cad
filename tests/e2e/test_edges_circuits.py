"""Circuits and rates of the performers, over real HTTP on loopback: who is left alone, for how long, and who is not."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from loopwright.edges.agents import AgentPerformer
from loopwright.edges.circuits import agent_fault
from loopwright.edges.router import RoutePerformer
from loopwright.settings import Circuit, read_settings
from loopwright.step import Call, Performer
from loopwright.testing import agent_behaviours as behave
from loopwright.testing.agent_server import AgentServer
from loopwright.testing.model_server import ModelServer

QUICK = Circuit(failures=3, pause_ms=100, longest_pause_ms=200, refused_pause_ms=3_600_000, gone_pause_ms=3_600_000)
LONG = QUICK.model_copy(update={"pause_ms": 3_600_000, "longest_pause_ms": 3_600_000})
ASK = {"kind": "model", "messages": [{"role": "user", "content": "Agents:\n- a: first\n- b: second"}], "name": "next_agent"}
SCHEMA = {"type": "object", "properties": {"agent": {"type": "string", "enum": ["a", "b"]}}}


def post(url: str, circuit: str = "sdr/a@1#1", **more: Any) -> dict[str, Any]:
    return {"url": url, "headers": {"Idempotency-Key": '"k"'}, "body": "{}", "timeout_ms": 10_000, "circuit": circuit, **more}


def outcomes(performer: Performer, steps: Sequence[dict[str, Any] | Callable[[], object]]) -> list[dict[str, Any]]:
    """The outcomes of the payloads, one after the other; a function among them is called in its turn."""

    async def run() -> list[dict[str, Any]]:
        await performer.open()
        found = []
        try:
            for step in steps:
                if callable(step):
                    await asyncio.to_thread(step)
                else:
                    found.append(json.loads(await performer.perform(Call("c", json.dumps(step).encode()))))
        finally:
            await performer.close()
        return found

    return asyncio.run(run())


def kinds(found: Sequence[dict[str, Any]]) -> list[object]:
    return [outcome["error"]["class"] if "error" in outcome else outcome.get("status", "answered") for outcome in found]


def test_an_agent_that_keeps_failing_is_left_alone_and_others_are_not(caplog: pytest.LogCaptureFixture) -> None:
    with AgentServer() as agents, caplog.at_level(logging.WARNING):
        bad, good = agents.agent("bad", behave.refusing(503)), agents.agent("good", behave.answering({"a": 1}))
        performer = AgentPerformer(read_settings(circuit=LONG))
        found = outcomes(performer, [*[post(bad, "t/bad@1#1")] * 5, post(good, "t/good@1#1")])
        assert kinds(found) == [503, 503, 503, "CircuitOpen", "CircuitOpen", 200]
        assert len(agents.calls("bad")) == 3
    assert [outcome.get("circuit_opened") for outcome in found] == [None, None, True, None, None, None]
    assert "503" in found[3]["error"]["message"]
    assert found[3]["error"]["retry_after_ms"] > 1_000_000
    (line,) = [record.getMessage() for record in caplog.records if "t/bad@1#1" in record.getMessage()]
    assert "it answered 503" in line


def test_a_circuit_lets_probes_through_after_its_pause_and_closes_when_they_go_well() -> None:
    with AgentServer() as agents:
        url = agents.agent("a", behave.failing(3, then=behave.answering({"a": 1})))
        performer = AgentPerformer(read_settings(circuit=QUICK))
        found = outcomes(performer, [*[post(url)] * 4, lambda: time.sleep(0.25), *[post(url)] * 3])
        assert kinds(found) == [503, 503, 503, "CircuitOpen", 200, 200, 200]


def test_429_with_retry_after_holds_off_every_call_until_then() -> None:
    with AgentServer() as agents:
        url = agents.agent("a", behave.refusing(429, retry_after="3600"))
        found = outcomes(AgentPerformer(read_settings(circuit=QUICK)), [post(url)] * 3)
        assert kinds(found) == [429, "CircuitOpen", "CircuitOpen"]
        assert 3_500_000 < found[1]["error"]["retry_after_ms"] <= 3_600_000
        assert len(agents.calls("a")) == 1


def test_410_disables_that_agent_until_it_is_published_again() -> None:
    with AgentServer() as agents:
        url = agents.agent("a", behave.refusing(410))
        again = [post(url, "t/a@1#2"), post(url, "t/a@1#2")]
        found = outcomes(AgentPerformer(read_settings(circuit=QUICK)), [*[post(url, "t/a@1#1")] * 3, *again])
        assert kinds(found) == [410, "AgentGone", "AgentGone", 410, "AgentGone"]
        assert "410" in found[1]["error"]["message"]
        assert len(agents.calls("a")) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_what_an_agent_thinks_of_a_call_opens_no_circuit(status: int) -> None:
    with AgentServer() as agents:
        url = agents.agent("a", behave.refusing(status))
        assert kinds(outcomes(AgentPerformer(read_settings(circuit=QUICK)), [post(url)] * 5)) == [status] * 5


def test_where_nobody_listens_calls_are_not_made_for_ever() -> None:
    with AgentServer() as agents:
        url = agents.agent("a", behave.echoing())
    found = outcomes(AgentPerformer(read_settings(circuit=LONG)), [post(url)] * 4)
    assert kinds(found) == ["ConnectionRefused"] * 3 + ["CircuitOpen"]


def test_a_call_that_waited_for_its_turn_is_not_made_once_the_circuit_has_opened() -> None:
    with AgentServer() as agents:
        url = agents.agent("a", behave.slow(0.05, behave.refusing(503)))
        payload = post(url, concurrency={"key": "t/a", "limit": 1})
        performer = AgentPerformer(read_settings(circuit=LONG))

        async def run() -> list[dict[str, Any]]:
            calls = [performer.perform(Call(str(n), json.dumps(payload).encode())) for n in range(20)]
            found = [json.loads(raw) for raw in await asyncio.gather(*calls)]
            await performer.close()
            return found

        assert sorted(map(str, kinds(asyncio.run(run())))) == ["503"] * 3 + ["CircuitOpen"] * 17
        assert len(agents.calls("a")) == 3


def test_no_more_calls_a_second_than_the_rate_allows_after_its_burst() -> None:
    """Calls are counted in the slack of a leaky bucket: in any time t, at most burst + t * per_second."""
    with AgentServer() as agents:
        url = agents.agent("a", behave.answering({"a": 1}))
        payload = post(url, rate={"per_second": 20, "burst": 5})
        performer = AgentPerformer(read_settings())

        async def run() -> None:
            await asyncio.gather(*(performer.perform(Call(str(n), json.dumps(payload).encode())) for n in range(15)))
            await performer.close()

        began = time.monotonic()
        asyncio.run(run())
        assert len(agents.calls("a")) == 15
        assert time.monotonic() - began >= (15 - 5) / 20 - 0.05
        assert agents.calls("a")[-1].at - agents.calls("a")[0].at >= (15 - 5) / 20 - 0.2


@pytest.mark.parametrize(
    ("behaviour", "asked", "first"),
    [("http-503", 3, "Unavailable"), ("http-401", 1, "Unauthorized"), ("no-quota", 1, "QuotaExceeded"), ("reset", 3, "Unavailable")],
)
def test_a_model_that_is_down_is_asked_a_few_times_and_then_left_alone(behaviour: str, asked: int, first: str) -> None:
    with ModelServer(behaviour=behaviour) as model:
        settings = read_settings(llm_base_url=model.base_url, llm_model="m", circuit=LONG)
        found = outcomes(RoutePerformer(settings), [ASK | {"schema": SCHEMA}] * 6)
        assert kinds(found) == [first] * asked + ["CircuitOpen"] * (6 - asked)
        assert len(model.questions) == asked
    assert [bool(outcome["error"].get("held")) for outcome in found] == [n >= asked - 1 for n in range(6)]
    assert sum(outcome.get("circuit_opened", False) for outcome in found) == 1
    assert all(outcome["error"]["retry_after_ms"] > 0 for outcome in found[asked - 1 :])


@pytest.mark.parametrize("behaviour", ["http-400", "http-404", "prose", "empty-choices", "html", "redirect", "huge-body"])
def test_a_model_that_answers_whatever_it_answers_opens_no_circuit(behaviour: str) -> None:
    with ModelServer(behaviour=behaviour) as model:
        settings = read_settings(llm_base_url=model.base_url, llm_model="m", circuit=QUICK)
        found = outcomes(RoutePerformer(settings), [ASK | {"schema": SCHEMA}] * 5)
    assert "CircuitOpen" not in kinds(found)


def test_a_model_s_circuit_opens_before_one_question_has_used_up_its_attempts() -> None:
    with ModelServer(behaviour="http-503") as model:
        settings = read_settings(llm_base_url=model.base_url, llm_model="m", llm_attempts=2, circuit=LONG)
        found = outcomes(RoutePerformer(settings), [ASK | {"schema": SCHEMA}] * 3)
    assert [bool(outcome["error"].get("held")) for outcome in found] == [False, True, True]


@pytest.mark.parametrize("kind", ["ConnectionRefused", "ConnectionReset", "ConnectionFailed", "DnsFailure", "Timeout"])
def test_an_agent_that_cannot_be_reached_counts_against_it(kind: str) -> None:
    assert agent_fault({"error": {"class": kind, "message": "no"}}, QUICK) is not None


@pytest.mark.parametrize(
    "kind", ["TlsError", "InvalidUrl", "AddressRefused", "ResponseTooLarge", "NotUtf8", "InvalidResponse", "Redirected"]
)
def test_what_another_try_would_not_change_does_not_count(kind: str) -> None:
    assert agent_fault({"error": {"class": kind, "message": "no"}}, QUICK) is None
