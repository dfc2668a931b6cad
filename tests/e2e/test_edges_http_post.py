"""Where an agent's replies may go: what a forged call names is not posted to."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from loopwright.agent import create_app
from loopwright.edges.http_post import Poster
from loopwright.errors import Terminal
from loopwright.testing.agent_server import AgentServer
from tests.e2e.http_here import running
from tests.e2e.test_agents_http import echo, later, posting


@pytest.fixture
def target() -> Iterator[AgentServer]:
    with AgentServer() as server:
        yield server


def post(url: str, poster: Poster) -> int:
    async def run() -> int:
        await poster.open()
        try:
            return (await poster.post(url, b"{}", {}, 5000)).status
        finally:
            await poster.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0:80/",
        "http://100.100.100.200/",
    ],
)
def test_what_hands_out_credentials_is_never_posted_to(url: str) -> None:
    for poster in (Poster(), Poster(loopback=False), Poster(hosts=["169.254.169.254", "0.0.0.0", "100.100.100.200"])):
        with pytest.raises(Terminal):
            post(url, poster)


def test_this_machine_is_posted_to_by_local_agents_or_where_it_is_named(target: AgentServer) -> None:
    url = target.endpoint("nobody")
    by_name = url.replace("127.0.0.1", "localhost")
    assert post(url, Poster()) == 404
    assert post(url, Poster(hosts=["127.0.0.1"], loopback=False)) == 404
    for refused in (Poster(loopback=False), Poster(hosts=["gateway.example"])):
        for address in (url, by_name):
            with pytest.raises(Terminal):
                post(address, refused)
    assert len(target.requests) == 2


def test_a_call_that_names_a_forbidden_address_is_refused_and_never_run(tmp_path: Path, target: AgentServer) -> None:
    runs: list[str] = []

    def count(task: object) -> dict[str, object]:
        runs.append("run")
        return {"said": "x"}

    app = create_app([echo(count, reply="callback")], tmp_path, callback_hosts=["gateway.example"])
    with running(app) as base:
        for address in ("http://169.254.169.254", target.url):
            answer: requests.Response = posting(base)({"text": "hi"}, **later(address))
            assert (answer.status_code, answer.json()["type"]) == (400, "urn:loopwright:callback")
    assert (runs, list(target.requests)) == ([], [])
