"""The agent SDK over real HTTP: contracts, Idempotency-Key, replies that come later, crashes."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from fastapi import FastAPI, Request, Response

from loopwright.agent import Agent, Task, create_app
from loopwright.registry.definition import AgentDefinition
from tests.e2e.http_here import free_port, process, running, until

ECHO = {
    "name": "echo",
    "version": 1,
    "description": "Says it again.",
    "input": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    "output": {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]},
    "endpoint": "http://127.0.0.1:8801/agents/echo",
}
Post = Callable[..., requests.Response]


def echo(handler: Any, **other: object) -> Agent:
    agent = Agent(AgentDefinition.model_validate({**ECHO, **other}))
    agent.handler(handler)
    return agent


def posting(base: str, path: str = "/agents/echo") -> Post:
    def post(payload: object, key: str | None = "k", **headers: str) -> requests.Response:
        sent = {"content-type": "application/json", **headers} | ({} if key is None else {"idempotency-key": f'"{key}"'})
        body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        return requests.post(base + path, data=body, headers=sent, timeout=20)

    return post


class Inbox:
    """A stand-in for the gateway: keeps what is posted to it, and answers `status`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status = 202
        self.app = FastAPI()
        self.app.add_route("/{path:path}", self._take, methods=["POST"])

    async def _take(self, request: Request) -> Response:
        self.got.append((request.url.path, orjson.loads(await request.body())))
        return Response(status_code=self.status)

    def replies(self) -> list[dict[str, Any]]:
        return [body for path, body in self.got if path.startswith("/callbacks/")]


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, str]]:
    box = Inbox()
    with running(box.app) as base:
        yield box, base


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[tuple[Post, list[str]]]:
    """An echo that counts its runs."""
    runs: list[str] = []

    async def handle(task: Task) -> dict[str, object]:
        runs.append(task.idempotency_key)
        return {"said": task.input["text"]}

    with running(create_app([echo(handle)], tmp_path)) as base:
        yield posting(base), runs


def test_a_repeat_gets_the_stored_answer_and_runs_nothing(counted: tuple[Post, list[str]]) -> None:
    post, runs = counted
    first, again = post({"text": "hi"}), post({"text": "hi"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json() == {"said": "hi"}
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert runs == ["k"]


def test_an_answer_says_whose_it_is_where_the_caller_said_so(counted: tuple[Post, list[str]]) -> None:
    post, _runs = counted
    for names in ({"ce-workflowid": "a%2Fb", "ce-hop": "3"}, {"ce-workflowid": "c", "ce-hop": "1"}, {}):
        answer = post({"text": "hi"}, **names)
        assert {name: answer.headers[name] for name in ("ce-workflowid", "ce-hop") if name in answer.headers} == names


def test_a_key_with_another_payload_is_refused(counted: tuple[Post, list[str]]) -> None:
    post, runs = counted
    post({"text": "hi"})
    other = post({"text": "ho"})
    assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json")
    assert other.json()["type"] == "urn:loopwright:idempotency-key-reused"
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("payload", "key", "headers", "status", "kind"),
    [
        ({"text": "x"}, None, {}, 400, "idempotency-key"),
        ({"text": "x"}, "", {}, 400, "idempotency-key"),
        ({"text": "x"}, "k" * 300, {}, 400, "idempotency-key"),
        ({"text": 1}, "k", {}, 422, "input-contract"),
        ({}, "k", {}, 422, "input-contract"),
        ([1], "k", {}, 422, "not-an-object"),
        (b"", "k", {}, 422, "invalid-json"),
        (b"{", "k", {}, 422, "invalid-json"),
        (b'{"text": "a", "text": "b"}', "k", {}, 422, "duplicate-key"),
        (b'{"text": "\xff"}', "k", {}, 422, "invalid-utf8"),
        (b'{"text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "k", {}, 422, "too-deep"),
        (b'{"text": "' + b"x" * 1_000_001 + b'"}', "k", {}, 413, "too-large"),
        ({"text": "x"}, "k", {"content-type": "text/plain"}, 415, "content-type"),
        ({"text": "x"}, "k", {"ce-hop": "-1"}, 400, "header"),
        ({"text": "x"}, "k", {"loopwright-callback": "file:///etc/passwd"}, 400, "header"),
    ],
)
def test_a_bad_request_is_a_problem_and_runs_nothing(
    counted: tuple[Post, list[str]], payload: object, key: str | None, headers: dict[str, str], status: int, kind: str
) -> None:
    post, runs = counted
    answer = post(payload, key, **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"urn:loopwright:{kind}"
    assert runs == []


def test_an_endless_body_is_cut_off(counted: tuple[Post, list[str]]) -> None:
    post, runs = counted
    url = post({"text": "x"}, "first").url
    chunks = (b"x" * 100_000 for _ in range(50))
    headers = {"content-type": "application/json", "idempotency-key": "k"}
    with suppress(requests.ConnectionError):  # the server may close the connection before all is sent
        assert requests.post(url, data=chunks, headers=headers, timeout=20).status_code == 413
    assert runs == ["first"]


def test_a_call_in_progress_is_a_409_that_says_when_to_ask_again(tmp_path: Path) -> None:
    go = threading.Event()
    runs: list[str] = []

    def slow(task: Task) -> dict[str, object]:
        runs.append(task.idempotency_key)
        assert go.wait(20)
        return {"said": task.input["text"]}

    with running(create_app([echo(slow)], tmp_path)) as base, ThreadPoolExecutor() as threads:
        first = threads.submit(posting(base), {"text": "hi"})
        until(lambda: runs, "the first request")
        second = posting(base)({"text": "hi"})
        go.set()
        assert (second.status_code, second.headers["retry-after"]) == (409, "1")
        assert first.result().status_code == 200
        assert posting(base)({"text": "hi"}).headers["idempotent-replayed"] == "true"
    assert runs == ["k"]


def test_many_repeats_at_once_run_once(tmp_path: Path) -> None:
    runs: list[str] = []

    def count(task: Task) -> dict[str, object]:
        runs.append(task.idempotency_key)
        return {"said": task.input["text"]}

    with running(create_app([echo(count)], tmp_path)) as base, ThreadPoolExecutor(16) as threads:
        statuses = {answer.status_code for answer in threads.map(lambda _: posting(base)({"text": "hi"}), range(64))}
    assert runs == ["k"]
    assert statuses <= {200, 409}


def test_a_failed_run_is_not_stored(tmp_path: Path) -> None:
    outputs: list[dict[str, object]] = [{"said": 1}, {"said": "well"}]
    with running(create_app([echo(lambda _task: outputs.pop(0))], tmp_path)) as base:
        broken, mended = posting(base)({"text": "hi"}), posting(base)({"text": "hi"})
    assert broken.status_code == 500
    assert "$.said" in broken.json()["detail"]
    assert mended.json() == {"said": "well"}


def test_a_long_run_keeps_its_lease(tmp_path: Path) -> None:
    lease_ms = 300
    go = threading.Event()
    runs: list[float] = []

    def slow(task: Task) -> dict[str, object]:
        runs.append(time.monotonic())
        assert go.wait(20)
        return {"said": task.input["text"]}

    one, two = (create_app([echo(slow)], tmp_path, lease_ms=lease_ms) for _ in range(2))
    with running(one) as base, running(two) as other, ThreadPoolExecutor() as threads:
        first = threads.submit(posting(base), {"text": "hi"})
        until(lambda: runs and time.monotonic() - runs[0] > 3 * lease_ms / 1000, "three leases to pass")
        assert posting(other)({"text": "hi"}).status_code == 409
        go.set()
        assert first.result().status_code == 200
    assert len(runs) == 1


def test_progress_reaches_the_gateway_and_its_absence_harms_nothing(tmp_path: Path, inbox: tuple[Inbox, str]) -> None:
    box, gateway = inbox

    async def handle(task: Task) -> dict[str, object]:
        await task.progress(1, 3, "reading")
        return {"said": task.workflow}

    with running(create_app([echo(handle)], tmp_path)) as base:
        named = {"ce-workflowid": "a%2Fb", "ce-hop": "3", "ce-branch": "main"}
        there = posting(base)({"text": "x"}, "k1", **named, **{"loopwright-callback": f"{gateway}/callbacks/a%2Fb/3/main"})
        nobody = f"http://127.0.0.1:{free_port()}/callbacks/w/3/main"
        away = posting(base)({"text": "x"}, "k2", **named, **{"loopwright-callback": nobody})
        assert (there.json(), away.status_code) == ({"said": "a/b"}, 200)
        until(lambda: box.got, "the report")
    assert box.got == [("/progress/a/b/3", {"agent": "echo", "branch": "main", "step": 1, "of": 3, "text": "reading"})]


def test_cards_and_health_are_served(tmp_path: Path) -> None:
    agents = [echo(lambda _task: {}), echo(lambda _task: {}, name="other", endpoint="http://127.0.0.1:8801/agents/other")]
    with running(create_app(agents, tmp_path)) as base:
        assert requests.get(base + "/health", timeout=5).json() == {"status": "ok", "agents": ["default/echo@1", "default/other@1"]}
        assert len(requests.get(base + "/.well-known/agent-card.json", timeout=5).json()["skills"]) == 2
        card = requests.get(base + "/agents/other/.well-known/agent-card.json", timeout=5).json()
        assert (card["name"], card["version"], card["url"]) == ("other", "1", "http://127.0.0.1:8801/agents/other")
        missing = requests.get(base + "/nowhere", timeout=5)
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


def later(gateway: str) -> dict[str, str]:
    return {"ce-workflowid": "w", "ce-hop": "2", "ce-branch": "main", "loopwright-callback": f"{gateway}/callbacks/w/2/main"}


def test_a_deferred_reply_is_accepted_at_once_and_comes_later(tmp_path: Path, inbox: tuple[Inbox, str]) -> None:
    box, gateway = inbox
    go = threading.Event()

    def slow(task: Task) -> dict[str, object]:
        assert go.wait(20)
        task.usage(prompt_tokens=7)
        task.complete()
        return {"said": task.input["text"]}

    with running(create_app([echo(slow, reply="callback")], tmp_path)) as base:
        accepted = posting(base)({"text": "hi"}, **later(gateway))
        assert posting(base)({"text": "hi"}, **later(gateway)).status_code == 202
        assert (accepted.status_code, box.replies()) == (202, [])
        go.set()
        until(box.replies, "the reply")
        usage = {"prompt_tokens": 7, "completion_tokens": 0, "cost": 0.0}
        assert box.replies() == [{"output": {"said": "hi"}, "next": "complete", "usage": usage}]


def test_a_deferred_reply_is_sent_until_it_is_taken(tmp_path: Path, inbox: tuple[Inbox, str]) -> None:
    box, gateway = inbox
    box.status = 503
    with running(create_app([echo(lambda task: {"said": task.input["text"]}, reply="callback")], tmp_path)) as base:
        posting(base)({"text": "hi"}, **later(gateway))
        until(lambda: len(box.replies()) >= 2, "a second try")
        box.status = 202
        until(lambda: len(box.replies()) >= 3, "a third try")
        taken = len(box.replies())
        again = posting(base)({"text": "hi"}, **later(gateway))
        assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
        until(lambda: len(box.replies()) == taken + 1, "the reply once more, as the caller asked again")


def test_a_deferred_failure_says_whether_another_call_may_help(tmp_path: Path, inbox: tuple[Inbox, str]) -> None:
    box, gateway = inbox
    outputs: list[dict[str, object]] = [{"said": 1}, {"said": "well"}]
    with running(create_app([echo(lambda _task: outputs.pop(0), reply="callback")], tmp_path)) as base:
        posting(base)({"text": "hi"}, **later(gateway))
        (failed,) = until(box.replies, "the failure")
        assert (failed["error"]["class"], failed["error"]["retryable"]) == ("output-contract", True)
        assert until(
            lambda: posting(base)({"text": "hi"}, **later(gateway)).headers.get("idempotent-replayed") is None, "the call to be forgotten"
        )
        until(lambda: box.replies()[-1] == {"output": {"said": "well"}}, "the second run's reply")


def test_a_repeat_of_a_deferred_call_gets_its_reply_at_the_address_that_it_names_itself(tmp_path: Path, inbox: tuple[Inbox, str]) -> None:
    box, gateway = inbox
    runs: list[str] = []

    async def handle(task: Task) -> dict[str, object]:
        runs.append(task.idempotency_key)
        return {"said": task.input["text"]}

    with running(create_app([echo(handle, reply="callback")], tmp_path)) as base:
        for number in (1, 2):
            address = {"loopwright-callback": f"{gateway}/callbacks/w/{number}/0"}
            assert posting(base)({"text": "hi"}, **address).status_code == 202
            until(lambda number=number: len(box.got) == number, "the reply")
    assert [path for path, _ in box.got] == ["/callbacks/w/1/0", "/callbacks/w/2/0"]
    assert runs == ["k"]


def test_a_deferred_call_needs_an_address_for_the_reply(tmp_path: Path) -> None:
    with running(create_app([echo(lambda _task: {}, reply="callback")], tmp_path)) as base:
        answer = posting(base)({"text": "hi"})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:loopwright:callback")


def test_accepted_work_is_finished_after_the_process_was_killed(tmp_path: Path, inbox: tuple[Inbox, str]) -> None:
    box, gateway = inbox
    port = free_port()
    arguments = ("-m", "tests.e2e.slow_agent", "--state", str(tmp_path))
    with process(*arguments, "--first", port=port) as child:
        assert posting(f"http://127.0.0.1:{port}")({"text": "hi"}, **later(gateway)).status_code == 202
        until((tmp_path / "began").exists, "the work to begin")
        child.kill()
        child.wait(10)
    assert box.replies() == []
    with process(*arguments, port=port):
        until(box.replies, "the reply of the work that was taken up again")
    assert box.replies() == [{"output": {"said": "hi"}}]


def test_a_killed_call_is_taken_over_by_a_repeat(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("-m", "tests.e2e.slow_agent", "--reply", "response", "--state", str(tmp_path))
    post = posting(f"http://127.0.0.1:{port}")
    with ThreadPoolExecutor() as threads:
        with process(*arguments, "--first", port=port) as child:
            lost = threads.submit(post, {"text": "hi"})
            until((tmp_path / "began").exists, "the work to begin")
            child.kill()
            child.wait(10)
        assert isinstance(lost.exception(20), requests.RequestException)
    with process(*arguments, port=port):
        statuses: list[int] = []

        def answered() -> bool:
            statuses.append(post({"text": "hi"}).status_code)
            return statuses[-1] == 200

        until(answered, "the lease to end")
        assert set(statuses) <= {409, 200}
        assert post({"text": "hi"}).headers["idempotent-replayed"] == "true"
