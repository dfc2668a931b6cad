"""What the simulators take and answer, over real HTTP on a free port."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import RawTestServer

from bench.simulators import Simulators, document_in
from bench.workload import AGENTS, HOPS, chosen, is_last, lead, output, prompt


def test_a_document_is_found_bare_or_in_an_envelope() -> None:
    assert document_in({"lead": 7}) == {"lead": 7}
    for name in ("document", "data", "input"):
        assert document_in({"id": 1, name: {"lead": 7}}) == {"lead": 7}
    for body in ({}, {"lead": "7"}, {"document": []}, [], None):
        with pytest.raises(ValueError, match="lead"):
            document_in(body)


def asked(*requests: tuple[str, Any]) -> list[Any]:
    """The answers to these requests, one after the other; GET where there is no body."""

    async def ask() -> list[Any]:
        async with RawTestServer(Simulators().handle) as server, aiohttp.ClientSession(server.make_url("")) as session:
            found = []
            for path, body in requests:
                async with session.request("GET" if body is None else "POST", path, json=body) as response:
                    found.append(await response.json() if response.status == 200 else response.status)
            return found

    return asyncio.run(ask())


def test_a_lead_is_worked_and_every_request_is_in_the_log() -> None:
    document, requests = lead(7), list[tuple[str, Any]]()
    for agent in AGENTS:
        requests += [("/v1/chat/completions", prompt(document)), (f"/agents/{agent}", dict(document))]
        document |= output(agent)
    *answers, log, ended = asked(("/reset", {"service": "zero", "seed": 1}), *requests, ("/log", None), ("/ended", None))
    assert [chosen(answer) for answer in answers[1::2]] == list(AGENTS)
    assert answers[2::2] == [output(agent) for agent in AGENTS]
    assert [entry[:3] for entry in log] == [[kind, 7, hop] for hop in range(1, HOPS + 1) for kind in ("model", "agent")]
    assert all(arrived <= replied for *_, arrived, replied in log)
    assert ended == {"ended": 1}


def test_a_lead_is_at_its_end_once_the_last_agent_has_answered() -> None:
    last = next(agent for agent in AGENTS if is_last(agent))
    answers = asked((f"/agents/{AGENTS[0]}", lead(1)), ("/ended", None), (f"/agents/{last}", lead(1)), ("/ended?after=0", None))
    assert answers[1::2] == [{"ended": 0}, {"ended": 1}]


def test_what_cannot_be_understood_is_refused_and_noted() -> None:
    *answers, log = asked(("/agents/nobody", lead(1)), ("/v1/chat/completions", {"messages": []}), ("/nothing", {}), ("/log", None))
    assert answers == [400, 400, 404]
    assert [entry[0] for entry in log] == ["refused", "refused"]


def test_a_reset_empties_the_log() -> None:
    assert asked((f"/agents/{AGENTS[0]}", lead(1)), ("/reset", {"service": "zero", "seed": 1}), ("/log", None))[2] == []
