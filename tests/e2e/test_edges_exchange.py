"""The short way of a POST over real HTTP on loopback: what it sends and reads is what an aiohttp session would send and read."""

import asyncio
import gzip
import json

import aiohttp
import pytest

from loopwright.edges.exchange import Exchange
from loopwright.testing import agent_behaviours as behave
from loopwright.testing.agent_server import AgentServer

LIMIT = 1000


@pytest.fixture
def agents():
    with AgentServer() as server:
        yield server


def posted(url, *requests, **options):
    """The answers to these (headers, body), one after the other, and how many connections are open then."""

    async def run():
        exchange = Exchange(aiohttp.ClientSession(headers={"User-Agent": "loopwright", "Accept": "application/json"}, **options))
        answers = [await exchange.post(url, headers, body, LIMIT) for headers, body in requests]
        kept = sum(map(len, exchange.session.connector._conns.values()))
        await exchange.close()
        return answers, kept

    return asyncio.run(run())


def raw(*parts):
    def behaviour(exchange):
        for part in parts:
            exchange.write(part)
            exchange.wait(0.02)

    return behaviour


HEADERS = {"Content-Type": "application/json", "Idempotency-Key": '"k1"', "X-Text": "Zoë\tLee"}


def test_both_ways_send_the_same(agents):
    url = agents.agent("a", behave.echoing()) + "?tenant=a%20b&x=ü#part"

    async def run():
        exchange = Exchange(aiohttp.ClientSession(headers={"User-Agent": "loopwright", "Accept": "application/json"}))
        for headers in (HEADERS, {}, {"user-agent": "mine", "Accept": "*/*"}):
            await exchange.post(url, headers, b'{"a": 1}', LIMIT)
            await exchange._by_session("POST", url, b'{"a": 1}', headers, LIMIT, None)
        await exchange.close()

    asyncio.run(run())
    for short, long in zip(agents.requests[::2], agents.requests[1::2], strict=True):
        unasked = dict(long.headers)
        unasked.pop("accept-encoding", None)  # which the product's sessions name themselves
        assert {name: value for name, value in short.headers.items() if name != "accept-encoding"} == unasked
        assert (short.method, short.path, short.body) == (long.method, long.path, long.body)


def test_an_interim_answer_is_passed_over(agents):
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    url = agents.agent("a", raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", final))
    [answer], _ = posted(url, (HEADERS, b"{}"))
    assert (answer.status, answer.raw, answer.whole) == (200, b"{}", True)


def test_a_body_in_pieces_is_put_together_and_its_connection_used_again(agents):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = agents.agent("a", raw(head, b'4\r\n{"a"\r\n', b"4\r\n: 1}\r\n", b"0\r\n\r\n"))
    answers, kept = posted(url, (HEADERS, b"{}"), (HEADERS, b"{}"))
    assert [json.loads(answer.raw) for answer in answers] == [{"a": 1}] * 2
    assert kept == 1


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 300_000])
def test_a_body_beyond_the_limit_is_cut_and_ends_the_connection(agents, size):
    [answer], kept = posted(agents.agent("a", behave.sending(b"x" * size)), (HEADERS, b"{}"))
    assert answer.raw == b"x" * LIMIT
    assert answer.whole is (size == LIMIT)
    assert kept == (1 if answer.whole else 0)


def test_a_server_that_closes_is_connected_to_anew(agents):
    answers, kept = posted(agents.agent("a", behave.answering({}, connection="close")), (HEADERS, b"{}"), (HEADERS, b"{}"))
    assert [answer.status for answer in answers] == [200, 200]
    assert kept == 0


def test_what_is_packed_is_not_read_where_nothing_unpacks(agents):
    behaviour = behave.sending(gzip.compress(b"{}"), content_encoding="gzip")
    [answer], kept = posted(agents.agent("a", behaviour), (HEADERS, b"{}"), auto_decompress=False)
    assert (answer.raw, answer.whole, kept) == (b"", False, 0)
    [answer], kept = posted(agents.agent("a", behaviour), (HEADERS, b"{}"))
    assert (answer.raw, answer.whole, kept) == (b"{}", True, 1)


@pytest.mark.parametrize(
    ("url", "headers", "size"),
    [
        ("http://ada:pass@", HEADERS, 2),
        ("http://", HEADERS, 200_000),
        ("http://", HEADERS | {"idempotency-key": '"k2"'}, 2),
    ],
    ids=["credentials", "large", "twice"],
)
def test_what_is_not_ordinary_arrives_as_well(agents, url, headers, size):
    url = agents.agent("a", behave.answering({})).replace("http://", url)
    [answer], _ = posted(url, (headers, b"x" * size))
    [request] = agents.requests
    assert (answer.status, len(request.body)) == (200, size)
    assert request.headers["idempotency-key"] == list(headers.values())[-1 if len(headers) > len(HEADERS) else 1]
    assert ("authorization" in request.headers) == ("@" in url)


def test_a_call_that_is_given_up_ends_its_connection(agents):
    url = agents.agent("a", behave.hanging())

    async def run():
        exchange = Exchange(aiohttp.ClientSession())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await exchange.post(url, HEADERS, b"{}", LIMIT)
        connector = exchange.session.connector
        found = len(connector._acquired), len(connector._conns)
        await exchange.close()
        return found

    assert asyncio.run(run()) == (0, 0)


def test_each_of_many_targets_is_called_as_it_is_named(agents):
    for name in ("a", "b"):
        agents.agent(name, behave.answering({"i_am": name}))

    async def run():
        exchange = Exchange(aiohttp.ClientSession())
        for number in range(1100):
            exchange._target(f"http://127.0.0.1:9/{number}", None)
            exchange._usual_besides((f"X-{number}",))
        answers = [await exchange.post(agents.endpoint(name), HEADERS, b"{}", LIMIT) for name in ("a", "b", "a")]
        known = len(exchange._targets), len(exchange._unnamed)
        await exchange.close()
        return [json.loads(answer.raw)["i_am"] for answer in answers], known

    names, known = asyncio.run(run())
    assert names == ["a", "b", "a"]
    assert max(known) <= 1000
