"""Who calls whom: bearer tokens and client certificates between the dispatcher's performer and agents, over real HTTP and TLS."""

import asyncio
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
import uvicorn

from loopwright.agent import Agent, Task, Tls, create_app, serve
from loopwright.agent.serving import tls_options
from loopwright.edges.agents import AgentPerformer
from loopwright.edges.secrets import SecretsFile
from loopwright.errors import InvalidSettings
from loopwright.registry.definition import AgentDefinition
from loopwright.settings import read_settings
from loopwright.step import Call
from loopwright.testing import agent_behaviours as behave
from loopwright.testing.agent_server import AgentServer
from tests.e2e.http_here import free_port, running, until
from tests.e2e.test_agents_http import echo

TOKEN = "t0ken/of+the=agent"
NAME = "agent/default/echo"


def secrets_file(folder: Path, content: dict[str, Any], name: str = "secrets.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    return file


def call(url: str, auth: dict[str, str] | None = None) -> dict[str, Any]:
    headers = {"content-type": "application/json", "idempotency-key": '"k"'}
    return {"url": url, "headers": headers, "body": '{"text": "hi"}', "timeout_ms": 10_000} | ({"auth": auth} if auth else {})


def perform(payload: dict[str, Any], secrets: Path | None = None) -> dict[str, Any]:
    async def run() -> Any:
        performer = AgentPerformer(read_settings(secrets_file=secrets))
        await performer.open()
        try:
            return json.loads(await performer.perform(Call("1", json.dumps(payload).encode())))
        finally:
            await performer.close()

    return asyncio.run(run())  # type: ignore[no-any-return]


def say(task: Task) -> dict[str, object]:
    return {"said": task.input["text"]}


BEARER = {"type": "bearer", "secret": NAME}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An agent that asks for a token, and the secrets file that holds it."""
    file = secrets_file(tmp_path, {NAME: TOKEN})
    with running(create_app([echo(say, auth={"type": "bearer"})], tmp_path, secrets=SecretsFile(file))) as base:
        yield f"{base}/agents/echo", file


def test_a_call_carries_the_token_that_its_definition_names(guarded: tuple[str, Path]) -> None:
    url, file = guarded
    outcome = perform(call(url, BEARER), file)
    assert (outcome["status"], json.loads(outcome["body"])) == (200, {"said": "hi"})


@pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer ", "Basic dDprZW4=", "Bearer other", f"Bearer {TOKEN}x", TOKEN, "Bearer é"])
def test_an_agent_refuses_who_has_not_its_token_and_runs_nothing(guarded: tuple[str, Path], sent: str | None) -> None:
    url, _ = guarded
    headers = {"content-type": "application/json", "idempotency-key": "k"} | ({} if sent is None else {"authorization": sent})
    answer = requests.post(url, data=b'{"text": "hi"}', headers={n: v.encode() for n, v in headers.items()}, timeout=20)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert TOKEN not in answer.text


def test_a_token_is_changed_without_a_gap(guarded: tuple[str, Path], tmp_path: Path) -> None:
    url, file = guarded
    caller = secrets_file(tmp_path, {NAME: TOKEN}, "caller")
    secrets_file(tmp_path, {NAME: ["new", TOKEN]})
    assert perform(call(url, BEARER), caller)["status"] == 200
    secrets_file(tmp_path, {NAME: "new"}, "caller")
    assert perform(call(url, BEARER), caller)["status"] == 200
    secrets_file(tmp_path, {NAME: "new"})
    assert perform(call(url, BEARER), file)["status"] == 200
    assert perform(call(url, BEARER), secrets_file(tmp_path, {NAME: TOKEN}, "old"))["status"] == 401


def test_without_the_secret_nothing_is_sent_and_the_remedy_is_said(tmp_path: Path) -> None:
    with AgentServer() as agents:
        url = agents.agent("a", behave.answering({}))
        readable = secrets_file(tmp_path, {NAME: TOKEN}, "readable")
        readable.chmod(0o644)
        for file, kind, text in [
            (None, "MissingSecret", "LOOPWRIGHT_SECRETS_FILE"),
            (secrets_file(tmp_path, {"other": TOKEN}), "MissingSecret", f"write {NAME}: TOKEN"),
            (tmp_path / "absent", "MissingSecret", "absent"),
            (readable, "MissingSecret", "chmod 600"),
            (secrets_file(tmp_path, {NAME: "line\nbreak"}, "bad"), "InvalidSecret", "bearer token"),
            (secrets_file(tmp_path, {NAME: {"certificate": "x"}}, "files"), "MissingSecret", f"write {NAME}: TOKEN"),
        ]:
            error = perform(call(url, BEARER), file)["error"]
            assert (error["class"], text in error["message"]) == (kind, True), error
            assert TOKEN not in str(error)
        assert agents.calls("a") == []


def test_a_redirect_does_not_take_the_token_elsewhere(tmp_path: Path) -> None:
    with AgentServer() as other, AgentServer() as agents:
        elsewhere = other.agent("b", behave.answering({}))
        outcome = perform(call(agents.agent("a", behave.redirecting(elsewhere)), BEARER), secrets_file(tmp_path, {NAME: TOKEN}))
        assert outcome["status"] == 307
        assert other.requests == []
        assert agents.calls("a")[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [200, 401])
def test_an_agent_that_repeats_the_token_is_not_quoted(tmp_path: Path, status: int) -> None:
    body = json.dumps({"title": f"bad token {TOKEN}"}).replace("/", "\\/").encode() + TOKEN.encode()
    with AgentServer() as agents:
        url = agents.agent("a", behave.sending(body, status, loopwright_next=TOKEN))
        outcome = perform(call(url, BEARER), secrets_file(tmp_path, {NAME: TOKEN}))
    assert outcome["status"] == status
    assert TOKEN not in json.dumps(outcome).replace("\\", "")


def test_an_agent_whose_token_is_not_known_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="agent/default/echo: TOKEN"):
        create_app([echo(say, auth={"type": "bearer"})], tmp_path, secrets=SecretsFile(secrets_file(tmp_path, {"a": "b"})))


def test_an_agent_that_nobody_could_check_certificates_for_does_not_start(tmp_path: Path) -> None:
    agent = echo(say, auth={"type": "mtls"}, endpoint="https://127.0.0.1:8801/agents/echo")
    for tls in (None, Tls(tmp_path / "c", tmp_path / "k")):
        with pytest.raises(InvalidSettings, match="client_ca"):
            serve([agent], port=free_port(), state=tmp_path, tls=tls)


class Authority:
    """A certificate authority, and what it makes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._made = trustme.CA()
        self.folder, self.name = folder, name
        self.pem = folder / f"{name}-ca.pem"
        self._made.cert_pem.write_to_path(str(self.pem))

    def issue(self, who: str, **options: Any) -> tuple[Path, Path]:
        """Certificate and key files."""
        issued = self._made.issue_cert(who, **options)
        certificate, key = self.folder / f"{self.name}-{who}.pem", self.folder / f"{self.name}-{who}.key"
        issued.private_key_pem.write_to_path(str(key))
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        return certificate, key


@contextmanager
def over_tls(agent: Agent, state: Path, tls: Tls) -> Iterator[str]:
    """Serve an agent over https in a thread."""
    port = free_port()
    app = create_app([agent], state)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=5, **tls_options(tls)))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "uvicorn")
        assert server.started
        yield f"https://127.0.0.1:{port}/agents/echo"
    finally:
        server.should_exit = True
        thread.join(15)


MTLS = {"type": "mtls", "secret": "partner"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Authority, list[str]]]:
    """An agent that takes certificates of `ours` alone: its URL, a folder, the authority, and what it ran."""
    folder = tmp_path_factory.mktemp("tls")
    ours = Authority(folder, "ours")
    certificate, key = ours.issue("127.0.0.1")
    ran: list[str] = []

    def count(task: Task) -> dict[str, object]:
        ran.append(task.idempotency_key)
        return {"said": task.input["text"]}

    agent = echo(count, auth={"type": "mtls", "secret": "partner"}, endpoint="https://127.0.0.1:1/agents/echo")
    with over_tls(agent, folder, Tls(certificate, key, ours.pem)) as url:
        yield url, folder, ours, ran


def partner(folder: Path, certificate: Path, key: Path, ca: Path | None, name: str) -> Path:
    files = {"certificate": certificate.name, "key": key.name} | ({"ca": ca.name} if ca else {})
    return secrets_file(folder, {"partner": files}, name)


def test_both_sides_prove_themselves_with_certificates(world: tuple[str, Path, Authority, list[str]]) -> None:
    url, folder, ours, ran = world
    outcome = perform(call(url, MTLS), partner(folder, *ours.issue("dispatcher"), ours.pem, "good"))
    assert (outcome.get("status"), len(ran)) == (200, 1), outcome


PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("case", ["of another authority", "expired"])
def test_an_agent_refuses_a_certificate_that_does_not_fit(world: tuple[str, Path, Authority, list[str]], case: str) -> None:
    url, folder, ours, ran = world
    before = len(ran)
    made = Authority(folder, "others").issue("x") if case == "of another authority" else ours.issue("late", not_before=PAST, not_after=PAST)
    error = perform(call(url, MTLS), partner(folder, *made, ours.pem, case))["error"]
    assert error["class"] == "ConnectionReset", "uvicorn hangs up without a word"
    assert "certificate" in error["message"]
    assert len(ran) == before


def test_an_agent_refuses_who_shows_no_certificate(world: tuple[str, Path, Authority, list[str]]) -> None:
    url, _, ours, ran = world
    before = len(ran)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.post(url, json={"text": "hi"}, headers={"idempotency-key": "k"}, verify=ours.pem, timeout=20)
    assert len(ran) == before


def test_an_agent_that_is_not_who_it_should_be_is_not_called(world: tuple[str, Path, Authority, list[str]]) -> None:
    url, folder, ours, ran = world
    before = len(ran)
    error = perform(call(url, MTLS), partner(folder, *ours.issue("x"), Authority(folder, "others").pem, "wrong"))["error"]
    assert error["class"] == "TlsError"
    assert perform(call(url))["error"]["class"] == "TlsError", "an authority that the machine does not know"
    stranger = url.replace("127.0.0.1", "localhost")
    assert perform(call(stranger, MTLS), partner(folder, *ours.issue("x"), ours.pem, "good"))["error"]["class"] == "TlsError"
    assert len(ran) == before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_says_why_it_refuses_a_certificate_is_understood(tmp_path: Path, version: ssl.TLSVersion) -> None:
    ours = Authority(tmp_path, "ours")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.issue("127.0.0.1"))
    context.load_verify_locations(ours.pem)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version

    def refuse(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
            try:
                tls.do_handshake()
            except ssl.SSLError:
                with suppress(OSError):
                    while os.read(tls.fileno(), 4096):  # what is not read would reset the connection before the alert is read
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=refuse, args=(listening,), daemon=True)
        serving.start()
        made = Authority(tmp_path, "others").issue("x")
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/agents/echo"
        outcome = perform(call(url, MTLS), partner(tmp_path, *made, ours.pem, "p"))
        serving.join(20)
    assert outcome["error"]["class"] == "TlsError", outcome


def test_a_certificate_that_cannot_be_used_is_a_final_error_with_a_remedy(world: tuple[str, Path, Authority, list[str]]) -> None:
    url, folder, ours, ran = world
    certificate, key = ours.issue("dispatcher")
    before = len(ran)
    (folder / "junk").write_text("no certificate")
    for files, kind in [
        ({"certificate": "absent", "key": key.name}, "InvalidSecret"),
        ({"certificate": "junk", "key": key.name}, "InvalidSecret"),
        ({"certificate": certificate.name, "key": "junk"}, "InvalidSecret"),
        ({"certificate": certificate.name, "key": key.name, "ca": "junk"}, "InvalidSecret"),
        ({"certificate": certificate.name}, "MissingSecret"),
        ("text", "MissingSecret"),
    ]:
        error = perform(call(url, MTLS), secrets_file(folder, {"partner": files}, "broken"))["error"]
        assert (error["class"], "partner" in error["message"]) == (kind, True), error
    assert len(ran) == before


def test_a_definition_with_a_certificate_needs_https() -> None:
    content = echo(say).definition.model_dump() | {"auth": {"type": "mtls"}}
    with pytest.raises(ValueError, match="must be https"):
        AgentDefinition.model_validate(content)
