"""Calls to agents over real HTTP on loopback: each way in which an agent can go wrong becomes one outcome, and none an exception."""

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import subprocess
import threading

import pytest
from aiohttp.abc import AbstractResolver

from loopwright.edges.agents import AgentPerformer
from loopwright.settings import read_settings
from loopwright.step import Call
from loopwright.testing import agent_behaviours as behave
from loopwright.testing.agent_server import AgentServer


@pytest.fixture
def agents():
    with AgentServer() as server:
        yield server


def payload(url, body=None, timeout_ms=5000, headers=None, limit=32):
    headers = {"Content-Type": "application/json", "Idempotency-Key": '"k1"'} if headers is None else headers
    concurrency = {"key": "sdr/a", "limit": limit}
    return {"url": url, "headers": headers, "body": json.dumps(body or {}), "timeout_ms": timeout_ms, "concurrency": concurrency}


def perform(*payloads, **options):
    """The outcomes of the payloads, performed at the same time by one performer."""

    async def run():
        performer = AgentPerformer(read_settings(), **options)
        await performer.open()
        try:
            calls = [Call(str(n), given if isinstance(given, bytes) else json.dumps(given).encode()) for n, given in enumerate(payloads)]
            return [json.loads(raw) for raw in await asyncio.gather(*(performer.perform(call) for call in calls))]
        finally:
            await performer.close()

    return asyncio.run(run())


def error_of(given, **options):
    [outcome] = perform(given, **options)
    return outcome["error"]["class"]


def test_an_answer_is_carried_with_its_status_body_and_the_headers_that_count(agents):
    url = agents.agent("a", behave.answering({"score": 82}, loopwright_next="complete", set_cookie="s=1", retry_after="3"))
    [outcome] = perform(payload(url, {"name": "Zoë"}))
    assert outcome["status"] == 200
    assert json.loads(outcome["body"]) == {"score": 82}
    assert outcome["headers"] == {"content-type": "application/json", "loopwright-next": "complete", "retry-after": "3"}
    assert outcome["duration_ms"] >= 0
    [request] = agents.calls("a")
    assert request.json() == {"name": "Zoë"}
    assert request.headers["idempotency-key"] == '"k1"'


@pytest.mark.parametrize("status", [202, 204, 400, 404, 409, 422, 429, 500, 503])
def test_a_refusal_is_carried_as_its_status(agents, status):
    [outcome] = perform(payload(agents.agent("a", behave.sending(b"", status) if status == 204 else behave.refusing(status, "no"))))
    assert outcome["status"] == status


def test_headers_that_are_not_text_do_not_break_the_outcome(agents):
    def behaviour(exchange):
        exchange.write(b"HTTP/1.1 200 \xff\r\nContent-Length: 2\r\nLocation: /\xff\xfe\r\n\r\n{}")

    [outcome] = perform(payload(agents.agent("a", behaviour)))
    assert (outcome["status"], outcome["body"]) == (200, "{}")


def test_a_redirect_is_carried_and_never_followed(agents):
    agents.agent("secret", behave.answering({"secret": 1}))
    [outcome] = perform(payload(agents.agent("a", behave.redirecting("/agents/secret"))))
    assert (outcome["status"], outcome["headers"]["location"]) == (307, "/agents/secret")
    assert agents.calls("secret") == []


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (behave.resetting(), "ConnectionReset"),
        (behave.breaking_off(), "ConnectionReset"),
        (behave.huge(), "ResponseTooLarge"),
        (behave.sending(gzip.compress(b" " * 50_000_000), content_encoding="gzip"), "ResponseTooLarge"),
        (behave.sending("é".encode("latin-1")), "NotUtf8"),
        (lambda exchange: exchange.write(b"I am no HTTP server\r\n\r\n"), "InvalidResponse"),
        (behave.sending(b"", 200, x="y" * 100_000), "InvalidResponse"),
    ],
    ids=["reset", "half a body", "100 MB", "gzip bomb", "latin-1", "not HTTP", "long header"],
)
def test_an_answer_that_cannot_be_read_is_an_error_with_a_class(agents, behaviour, expected):
    assert error_of(payload(agents.agent("a", behaviour))) == expected
    assert len(agents.calls("a")) == 1, "whether to try again is the decider's to say"


@pytest.mark.parametrize("behaviour", [behave.hanging(), behave.dripping()], ids=["hangs", "drips"])
def test_the_deadline_covers_the_whole_call(agents, behaviour):
    [outcome] = perform(payload(agents.agent("a", behaviour), timeout_ms=300))
    assert outcome["error"] == {"class": "Timeout", "message": "no complete answer within 300 ms"}
    assert outcome["duration_ms"] >= 300


def test_the_status_of_a_refusal_counts_whatever_its_body_is(agents):
    [outcome] = perform(payload(agents.agent("a", behave.sending(b"\xff" * 3_000_000, 503))), max_response_bytes=1000)
    assert outcome["status"] == 503
    assert len(outcome["body"]) == 1000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://no-such-host.invalid/agents/a", "DnsFailure"),
        ("ftp://127.0.0.1/agents/a", "InvalidUrl"),
        ("http:///agents/a", "InvalidUrl"),
        ("not an address", "InvalidUrl"),
        ("http://127.0.0.1:99999/", "InvalidUrl"),
        ("http://user:hunter2@/", "InvalidUrl"),
    ],
)
def test_an_address_that_leads_nowhere_is_an_error_with_a_class(url, expected):
    [outcome] = perform(payload(url))
    assert outcome["error"]["class"] == expected
    assert "hunter2" not in json.dumps(outcome)


def test_a_port_where_nobody_listens_refuses_the_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert error_of(payload(f"http://127.0.0.1:{port}/")) == "ConnectionRefused"


@pytest.fixture
def self_signed(tmp_path):
    """The port of a TLS server whose certificate nobody trusts."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-keyout",
        key,
        "-out",
        cert,
    ]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            with contextlib.suppress(OSError), listener.accept()[0] as raw, context.wrap_socket(raw, server_side=True):
                pass

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_a_certificate_that_nobody_trusts_is_refused(self_signed):
    assert error_of(payload(f"https://127.0.0.1:{self_signed}/")) == "TlsError"


@pytest.mark.parametrize(
    "headers",
    [{"X-Note": "a\r\nX-Admin: 1"}, {"X-Note\r\nX-Admin": "1"}, {"X-Note": "a\0b"}, {"Host": "other"}, {"Content-Length": "3"}, {"X": 1}],
)
def test_a_header_that_would_smuggle_another_is_never_sent(agents, headers):
    assert error_of(payload(agents.agent("a", behave.echoing()), headers=headers)) == "InvalidHeader"
    assert agents.requests == []


@pytest.mark.parametrize("raw", [b"", b"no json", b"[]", b"{}", b'{"url": "http://x/", "timeout_ms": "soon", "body": ""}', b"null"])
def test_a_call_that_makes_no_sense_is_an_outcome_too(raw):
    assert error_of(raw) == "InvalidCall"


def test_no_more_calls_of_an_agent_run_at_once_than_its_limit(agents):
    running, most, guard = 0, 0, threading.Lock()

    def count(exchange):
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        exchange.wait(0.05)
        with guard:
            running -= 1
        exchange.reply(200, {})

    url = agents.agent("a", count)
    outcomes = perform(*[payload(url, timeout_ms=1000, limit=3) for _ in range(12)])
    assert [o["status"] for o in outcomes] == [200] * 12
    assert most == 3
    assert max(o["waited_ms"] for o in outcomes) >= 100, "the wait for a slot is no part of the call"


def test_one_slow_agent_holds_up_no_other(agents):
    slow, quick = agents.agent("slow", behave.hanging()), agents.agent("quick", behave.echoing())
    held, outcome = perform(payload(slow, timeout_ms=1500, limit=1), payload(quick) | {"concurrency": {"key": "sdr/quick", "limit": 1}})
    assert held["error"]["class"] == "Timeout"
    assert outcome["status"] == 200
    assert outcome["duration_ms"] < 1500


def test_connections_are_used_again_and_cookies_are_forgotten(agents):
    url = agents.agent("a", behave.answering({}, set_cookie="session=1"))

    async def run():
        performer = AgentPerformer(read_settings())
        for _ in range(3):
            await performer.perform(Call("1", json.dumps(payload(url)).encode()))
        used = [len(kept) for kept in performer._opened().session.connector._conns.values()]
        await performer.close()
        return used

    assert asyncio.run(run()) == [1]
    assert all("cookie" not in request.headers for request in agents.requests)


def test_a_cancellation_passes_through(agents):
    url = agents.agent("a", behave.hanging())

    async def run():
        performer = AgentPerformer(read_settings())
        task = asyncio.create_task(performer.perform(Call("1", json.dumps(payload(url)).encode())))
        await asyncio.to_thread(agents.wait_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await performer.close()

    asyncio.run(run())


def test_an_environment_proxy_is_not_asked(agents, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    [outcome] = perform(payload(agents.agent("a", behave.echoing())))
    assert outcome["status"] == 200


class Resolver(AbstractResolver):
    """Gives the next of these answers each time it is asked, and the last one from then on."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address, family in zip(found, families, strict=True)
        ]

    async def close(self):
        pass


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "169.254.10.5", "0.0.0.0", "[::]", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "224.0.0.1"],
)
def test_an_address_that_is_never_called_is_refused_before_anything_is_sent(host):
    [outcome] = perform(payload(f"http://{host}:1/latest/meta-data"))
    assert outcome["error"]["class"] == "AddressRefused"
    assert "allow_addresses" in outcome["error"]["message"]
    assert outcome["duration_ms"] < 1000


@pytest.mark.parametrize("found", [["169.254.10.5"], ["fe80::1%1"], ["::ffff:169.254.169.254"], ["fe80::1", "169.254.10.5"]])
def test_a_name_is_refused_by_what_it_resolves_to(found):
    [outcome] = perform(payload("http://agent.example:1/"), resolver=Resolver(found))
    assert outcome["error"]["class"] == "AddressRefused"
    assert f"agent.example resolves to {found[0]}, a" in outcome["error"]["message"]


def test_of_a_name_s_addresses_only_those_that_may_be_called_are(agents):
    url = agents.agent("a", behave.echoing()).replace("127.0.0.1", "agent.example")
    [outcome] = perform(payload(url), resolver=Resolver(["169.254.10.5", "127.0.0.1"]))
    assert outcome["status"] == 200


def test_a_name_that_changes_its_address_between_two_calls_is_refused(agents):
    port = agents.agent("a", behave.answering({}, connection="close")).split(":")[2]

    async def run():
        performer = AgentPerformer(read_settings(), resolver=Resolver(["127.0.0.1"], ["169.254.169.254"]))
        outcomes = []
        for _ in range(2):
            outcomes.append(json.loads(await performer.perform(Call("1", json.dumps(payload(f"http://agent.example:{port}")).encode()))))
            performer._opened().session.connector.clear_dns_cache()
        await performer.close()
        return outcomes

    first, second = asyncio.run(run())
    assert first["status"] == 200
    assert second["error"]["class"] == "AddressRefused"


def test_a_definition_opens_a_network_for_its_own_calls_alone(agents):
    url = agents.agent("a", behave.echoing()).replace("127.0.0.1", "0.0.0.0")  # which leads to loopback
    opened, shut = payload(url) | {"allow": ["0.0.0.0/32"]}, payload(url)

    async def run():
        performer = AgentPerformer(read_settings())
        outcomes = [json.loads(await performer.perform(Call("1", json.dumps(given).encode()))) for given in (opened, shut, opened)]
        await performer.close()
        return outcomes

    first, second, third = asyncio.run(run())
    assert (first["status"], third["status"]) == (200, 200)
    assert second["error"]["class"] == "AddressRefused", "a connection that is open for the one is not there for the other"


def test_a_network_that_is_none_is_the_payload_s_fault():
    assert error_of(payload("http://127.0.0.1:1/") | {"allow": ["here"]}) == "InvalidCall"
