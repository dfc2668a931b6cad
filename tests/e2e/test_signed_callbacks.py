"""Callbacks and progress over real HTTP: the SDK signs, the gateway lets in what is signed and nothing else."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from starlette.requests import Request

from loopwright.agent import Task, create_app
from loopwright.audit import Refusal
from loopwright.edges.secrets import SecretsFile, new_key
from loopwright.edges.signing import Signer, call_of, message_id
from loopwright.errors import Unreachable
from loopwright.settings import read_settings
from loopwright.web import gateway as web
from loopwright.web.refusals import Refusals
from loopwright.web.writer import Writer
from tests.e2e.http_here import running, until
from tests.e2e.test_agents_http import echo, later, posting
from tests.e2e.test_gateway_http import Log

BODY = orjson.dumps({"output": {"x": 1}})


def secrets_file(folder: Path, name: str = "secrets.json", byte: int = 1) -> SecretsFile:
    file = folder / name
    file.write_text(orjson.dumps({"callback": new_key(bytes([byte]) * 32)}).decode())
    file.chmod(0o600)
    return SecretsFile(file)


class Audited(Log):
    """Keeps audit records apart: they are written in the background."""

    def kept(self, topic: str) -> list[dict[str, object]]:
        return [orjson.loads(value) for name, _, value, _ in list(self.sent) if name == topic]


@pytest.fixture
def secrets(tmp_path: Path) -> SecretsFile:
    return secrets_file(tmp_path)


@pytest.fixture
def log() -> Audited:
    return Audited()


@pytest.fixture
def base(log: Audited, secrets: SecretsFile) -> Iterator[str]:
    with running(web.create_app(read_settings(secrets_file=secrets.path), log)) as url:
        yield url


def post(url: str, headers: dict[str, str], body: bytes = BODY) -> requests.Response:
    return requests.post(url, data=body, headers={"content-type": "application/json", **headers}, timeout=20)


def sign(secrets: SecretsFile, message: str = "msg_1", off_s: float = 0, body: bytes = BODY, agent: str = "echo") -> dict[str, str]:
    return Signer(secrets, "default", agent).headers(body, message, time.time() + off_s)


def refused(answer: requests.Response, log: Audited, cause: str) -> dict[str, object]:
    """The audit record of a refusal, whose answer is checked."""
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["type"] == f"urn:loopwright:{cause}"
    assert ";" in answer.json()["detail"], "a cause and a remedy"
    until(lambda: any(one["data"]["cause"] == cause for one in log.kept("agent-audit")), f"the audit record of {cause}")
    return next(one for one in log.kept("agent-audit") if one["data"]["cause"] == cause)


def test_a_signed_callback_is_taken_and_its_record_names_the_sender(base: str, log: Audited, secrets: SecretsFile) -> None:
    assert post(f"{base}/callbacks/w/3/0", sign(secrets)).status_code == 202
    (record,) = log.kept("agent-callbacks")
    assert record["data"] == {"branch": "0", "output": {"x": 1}, "sender": "default/echo"}


def test_an_unsigned_callback_is_refused(base: str, log: Audited) -> None:
    record = refused(post(f"{base}/callbacks/w/3/0", {"loopwright-agent": "default/echo"}), log, "unsigned")
    assert (record["type"], record["workflowid"], record["hop"], record["branch"]) == ("loopwright.access.refused", "w", 3, "0")
    assert record["data"]["who"] == {"agent": "default/echo", "address": "127.0.0.1"}
    assert (record["data"]["where"], record["data"]["what"]) == ("gateway", "callbacks")
    assert log.kept("agent-callbacks") == []


def test_a_callback_signed_with_another_secret_is_refused(base: str, log: Audited, secrets: SecretsFile, tmp_path: Path) -> None:
    refused(post(f"{base}/callbacks/w/3/0", sign(secrets_file(tmp_path, "other", 2))), log, "wrong-signature")
    borrowed = sign(secrets, agent="other") | {"loopwright-agent": "default/echo"}
    refused(post(f"{base}/callbacks/w/3/0", borrowed), log, "wrong-signature")
    refused(post(f"{base}/callbacks/w/3/0", sign(secrets), BODY.replace(b"1", b"2")), log, "wrong-signature")
    assert log.kept("agent-callbacks") == []


@pytest.mark.parametrize("off_s", [-330, 330])
def test_a_stale_callback_is_refused(base: str, log: Audited, secrets: SecretsFile, off_s: float) -> None:
    refused(post(f"{base}/callbacks/w/3/0", sign(secrets, off_s=off_s)), log, "stale")
    assert log.kept("agent-callbacks") == []


def test_a_replayed_callback_is_refused_and_another_attempt_of_the_sender_is_safe(base: str, log: Audited, secrets: SecretsFile) -> None:
    url, first = f"{base}/callbacks/w/3/0", sign(secrets, off_s=-2)
    assert post(url, first).status_code == 202
    refused(post(url, first), log, "replayed")
    refused(post(url, sign(secrets, body=b'{"output": {}}'), b'{"output": {}}'), log, "replayed")
    again = post(url, sign(secrets))
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert len(log.kept("agent-callbacks")) == 1


def test_a_callback_that_kafka_did_not_take_may_be_sent_again_as_it_is(base: str, log: Audited, secrets: SecretsFile) -> None:
    headers = sign(secrets)
    log.fault = Unreachable("Kafka does not answer", "no broker", "start it")
    assert post(f"{base}/callbacks/w/3/0", headers).status_code == 503
    log.fault = None
    assert post(f"{base}/callbacks/w/3/0", headers).status_code == 202
    assert len(log.kept("agent-callbacks")) == 1


def test_a_door_stays_shut_when_the_audit_topic_is_away(base: str, log: Audited) -> None:
    log.fault = Unreachable("Kafka does not answer", "no broker", "start it")
    assert post(f"{base}/callbacks/w/3/0", {}).status_code == 401
    log.fault = None
    assert post(f"{base}/callbacks/w/3/0", {}).status_code == 401
    assert log.kept("agent-callbacks") == []


def test_a_flood_of_refusals_is_not_a_flood_of_records(log: Audited) -> None:
    async def flood() -> None:
        refusals = Refusals(Writer(log, 10), "agent-audit")
        for _ in range(200):
            refusals.note(Refusal("gateway", "callbacks", "unsigned", "no signature"))
        await refusals.close()
        await asyncio.sleep(1.01)  # the next second
        refusals.note(Refusal("gateway", "callbacks", "unsigned", "no signature"))
        await refusals.close()

    asyncio.run(flood())
    written = log.kept("agent-audit")
    assert len(written) < 100
    assert len(written) + sum(int(one["data"].get("unwritten", 0)) for one in written) == 201, "what was left out is counted"
    assert len({one["id"] for one in written}) == len(written)


def test_progress_is_signed_too_and_each_agent_reports_for_itself(base: str, log: Audited, secrets: SecretsFile) -> None:
    report = orjson.dumps({"agent": "echo", "step": 1, "of": 2})
    refused(post(f"{base}/progress/w/3", {}, report), log, "unsigned")
    assert post(f"{base}/progress/w/3", sign(secrets, "m1", body=report), report).status_code == 202
    other = post(f"{base}/progress/w/3", sign(secrets, "m2", body=report, agent="other"), report)
    assert (other.status_code, other.json()["type"]) == (403, "urn:loopwright:foreign-agent")
    assert len(log.kept("agent-progress")) == 1


def test_a_delivery_that_was_signed_for_one_call_is_taken_at_no_other_address(base: str, log: Audited, secrets: SecretsFile) -> None:
    headers = sign(secrets, message_id(call_of("a/b", 3, "0")))
    for elsewhere in ("w/3/0", "a%2Fb/4/0", "a%2Fb/3/1"):
        refused(post(f"{base}/callbacks/{elsewhere}", headers), log, "wrong-signature")
    assert post(f"{base}/callbacks/a%2Fb/3/0", headers).status_code == 202
    report = orjson.dumps({"agent": "echo", "step": 1, "of": 2})
    told = sign(secrets, message_id(call_of("w", 3)), body=report)
    refused(post(f"{base}/progress/w/4", told, report), log, "wrong-signature")
    assert post(f"{base}/progress/w/3", told, report).status_code == 202


def test_a_reply_that_names_another_agent_than_it_is_signed_by_is_refused(base: str, log: Audited, secrets: SecretsFile) -> None:
    answer = post(f"{base}/callbacks/w/3/0?agent=default%2Fother%401", sign(secrets))
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:loopwright:foreign-agent")
    assert post(f"{base}/callbacks/w/3/0?agent=default%2Fecho%401", sign(secrets)).status_code == 202
    assert len(log.kept("agent-callbacks")) == 1


def test_the_sdk_signs_what_it_sends_for_the_call_that_it_answers(log: Audited, secrets: SecretsFile, tmp_path: Path) -> None:
    async def handle(task: Task) -> dict[str, object]:
        await task.progress(1, 1, "reading")
        return {"said": task.input["text"]}

    app = web.create_app(read_settings(secrets_file=secrets.path), log)
    seen: list[str] = []

    @app.middleware("http")
    async def looking(request: Request, call_next: Any) -> Any:
        seen.append(request.headers.get("webhook-id", ""))
        return await call_next(request)

    with running(app) as base, running(create_app([echo(handle, reply="callback")], tmp_path, secrets=secrets)) as agent:
        assert posting(agent)({"text": "hi"}, **later(base)).status_code == 202
        (reply,) = until(lambda: log.kept("agent-callbacks"), "the reply")
        until(lambda: log.kept("agent-progress"), "the progress")
    assert {call_of("w", 2, "main"), call_of("w", 2)} == {name.split("_")[1] for name in seen}
    assert (reply["data"]["sender"], reply["data"]["output"]) == ("default/echo", {"said": "hi"})
    assert log.kept("agent-audit") == []


def test_the_sdk_tries_again_until_its_secret_is_put_right(base: str, log: Audited, secrets: SecretsFile, tmp_path: Path) -> None:
    wrong = secrets_file(tmp_path, "wrong", 2)
    with running(create_app([echo(lambda task: {"said": task.input["text"]}, reply="callback")], tmp_path, secrets=wrong)) as agent:
        posting(agent)({"text": "hi"}, **later(base))
        until(lambda: log.kept("agent-audit"), "a refusal")
        wrong.path.write_text(secrets.path.read_text())
        until(lambda: log.kept("agent-callbacks"), "the reply")


def delivered(state: Path) -> bool:
    with closing(sqlite3.connect(state / "calls.sqlite")) as store:
        return [one for (one,) in store.execute("SELECT delivered FROM calls")] == [1]


def test_the_sdk_takes_a_replay_for_delivered(log: Audited, secrets: SecretsFile, tmp_path: Path) -> None:
    """The gateway takes the reply but its answer is lost: what it says of the next attempt ends the delivery."""
    app = web.create_app(read_settings(secrets_file=secrets.path), log)
    seen: list[int] = []

    @app.middleware("http")
    async def losing(request, call_next):  # type: ignore[no-untyped-def]
        answer = await call_next(request)
        seen.append(answer.status_code)
        if len(seen) == 1:
            answer.status_code = 504
        return answer

    with (
        running(app) as base,
        running(create_app([echo(lambda task: {"said": task.input["text"]}, reply="callback")], tmp_path, secrets=secrets)) as agent,
    ):
        posting(agent)({"text": "hi"}, **later(base))
        until(lambda: delivered(tmp_path), "the delivery to end")
    assert seen in ([202, 202], [202, 401]), "401 where both attempts fall into one second"
    assert len(log.kept("agent-callbacks")) == 1
