"""Webhooks over real HTTP: what is signed becomes the start of a workflow, and nothing else does."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from standardwebhooks import Webhook

from loopwright.edges.secrets import key_bytes, new_key
from loopwright.errors import InvalidDefinition, Unreachable
from loopwright.settings import read_settings
from loopwright.web.gateway import create_app
from tests.e2e.http_here import running, until
from tests.e2e.test_gateway_http import TRACE
from tests.e2e.test_signed_callbacks import Audited

KEY, OLD, OTHER = (new_key(bytes([n]) * 32) for n in (1, 2, 3))
SOURCES = """\
webhooks:
  orders: {team: sales, tenant: acme, actions: [crm.write], document: /data, constants: {by: shop}}
  named: {workflow: /data/number}
  slow: {rate: {per_second: 0.01, burst: 2}}
"""
PAYLOAD = {"type": "order.created", "data": {"number": 4711, "email": "zoe@example.com"}}


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    file.chmod(0o600)
    return file


def sign(body: bytes, delivery: str = "evt_1", key: str = KEY, off_s: float = 0) -> dict[str, str]:
    at = datetime.fromtimestamp(int(time.time() + off_s), UTC)
    signature = Webhook(key_bytes(key)).sign(delivery, at, body.decode())
    return {"webhook-id": delivery, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def deliver(
    base: str, name: str = "orders", body: Any = PAYLOAD, headers: dict[str, str] | None = None, signed: bytes = b"", **signing: Any
) -> requests.Response:
    """POST `body`, signed, where `headers` do not say otherwise; what is signed is the body, or `signed` in its place."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    sent = {"content-type": "application/json", **(sign(signed or data, **signing) if headers is None else headers)}
    return requests.post(f"{base}/webhooks/{name}", data=data, headers=sent, timeout=20)


@pytest.fixture
def log() -> Audited:
    return Audited()


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    names = {f"webhook/{name}": [KEY, OLD] for name in ("orders", "named", "slow")}
    return written(tmp_path, "secrets.json", orjson.dumps(names).decode())


@pytest.fixture
def base(log: Audited, tmp_path: Path, secrets: Path) -> Iterator[str]:
    sources = written(tmp_path, "sources.yaml", SOURCES)
    with running(create_app(read_settings(sources_file=sources, secrets_file=secrets), log)) as url:
        yield url


def test_a_signed_delivery_starts_a_workflow_on_what_its_definition_takes_of_it(base: str, log: Audited) -> None:
    answer = deliver(base, headers={**sign(orjson.dumps(PAYLOAD)), "traceparent": TRACE})
    (message,) = log.messages()
    assert (answer.status_code, answer.json()) == (202, {"workflow": message.workflow})
    assert answer.headers["location"] == f"/workflows/{message.workflow}"
    assert requests.get(base + answer.headers["location"], timeout=20).status_code == 200
    document = {"number": 4711, "email": "zoe@example.com", "by": "shop"}
    assert message.data == {"document": document, "team": "sales", "tenant": "acme", "actions": ["crm.write"]}
    assert (message.source, message.correlation, message.traceparent) == ("/loopwright/webhooks/orders", "evt_1", TRACE)
    assert deliver(base, "named").json() == {"workflow": "named:4711"}


def test_a_delivery_that_comes_again_starts_the_same_workflow_at_whichever_gateway(
    base: str, log: Audited, tmp_path: Path, secrets: Path
) -> None:
    names = [deliver(base, off_s=-5).json(), deliver(base).json()]
    with running(create_app(read_settings(sources_file=tmp_path / "sources.yaml", secrets_file=secrets), log)) as other:
        names += [deliver(other, key=OLD).json()]
    first, second, third = log.messages()
    assert names == [{"workflow": first.workflow}] * 3
    assert (first.id, first.data) == (second.id, second.data) == (third.id, third.data), "the job drops what it knows"
    assert deliver(base, delivery="evt_2").json() != names[0]


@pytest.mark.parametrize(
    ("cause", "signing"),
    [
        ("unsigned", {"headers": {}}),
        ("unsigned", {"headers": {"webhook-id": "evt_1", "webhook-timestamp": "1"}}),
        ("wrong-signature", {"key": OTHER}),
        ("wrong-signature", {"signed": b"{}"}),
        ("stale", {"off_s": -330}),
        ("stale", {"off_s": 330}),
    ],
)
def test_what_the_sender_has_not_signed_is_refused_and_on_record(base: str, log: Audited, cause: str, signing: dict[str, Any]) -> None:
    answer = deliver(base, **signing)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["type"] == f"urn:loopwright:{cause}"
    assert "; " in answer.json()["detail"], "a cause and a remedy"
    (record,) = until(lambda: log.kept("agent-audit"), "the audit record")
    assert (record["data"]["cause"], record["data"]["what"]) == (cause, "webhooks")
    assert record["data"]["who"] == {"source": "orders", "address": "127.0.0.1"}
    assert log.kept("agent-messages") == []


@pytest.mark.parametrize(
    ("name", "body", "more", "status"),
    [
        ("nobody", PAYLOAD, {}, 404),
        ("orders", PAYLOAD, {"content-type": "text/plain"}, 415),
        ("orders", b'{"data": {"x": "' + b"x" * 600_000 + b'"}}', {}, 413),
        ("orders", b"[1]", {}, 422),
        ("orders", b'{"data": {"a": 1, "a": 2}}', {}, 422),
        ("orders", {"data": 1}, {}, 422),
        ("orders", {"date": {}}, {}, 422),
        ("named", {"data": {"number": "a b"}}, {}, 422),
    ],
)
def test_what_cannot_be_used_is_a_problem_and_writes_nothing(
    base: str, log: Audited, name: str, body: Any, more: dict[str, str], status: int
) -> None:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = deliver(base, name, data, headers={**sign(data), **more})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert log.sent == []


def test_there_are_no_more_deliveries_than_the_rate_allows_and_unsigned_ones_do_not_count(base: str, log: Audited) -> None:
    assert [deliver(base, "slow", headers={}).status_code for _ in range(4)] == [401] * 4
    answers = [deliver(base, "slow", delivery=f"evt_{n}") for n in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].headers["retry-after"] == "100"
    assert deliver(base).status_code == 202, "each webhook has its own"
    assert len(log.kept("agent-messages")) == 3


def test_a_delivery_that_kafka_did_not_take_may_be_sent_again_as_it_is(base: str, log: Audited) -> None:
    headers = sign(orjson.dumps(PAYLOAD))
    log.fault = Unreachable("Kafka does not answer", "no broker", "start it")
    answer = deliver(base, headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    log.fault = None
    assert deliver(base, headers=headers).status_code == 202
    assert len(log.sent) == 1


def test_a_secret_is_put_right_without_a_restart(base: str, log: Audited, secrets: Path) -> None:
    written(secrets.parent, "secrets.json", '{"webhook/named": "x"}')
    assert deliver(base).status_code == 202, "a file that cannot be used changes nothing"
    written(secrets.parent, "secrets.json", "{}")
    answer = deliver(base)
    assert (answer.status_code, KEY in answer.text) == (500, False)
    written(secrets.parent, "secrets.json", orjson.dumps({"webhook/orders": OTHER}).decode())
    assert (deliver(base).status_code, deliver(base, key=OTHER).status_code) == (401, 202)


def test_a_webhook_is_added_and_taken_out_without_a_restart(base: str, tmp_path: Path) -> None:
    written(tmp_path, "sources.yaml", "webhooks: {named: {document: /data}}")
    assert [deliver(base, name).status_code for name in ("named", "orders")] == [202, 404]
    written(tmp_path, "sources.yaml", "webhooks: {named: {document: data}}")
    assert deliver(base, "named").status_code == 202, "a file that cannot be used changes nothing"


def test_a_file_that_cannot_be_used_stops_the_gateway(tmp_path: Path, log: Audited) -> None:
    with pytest.raises(InvalidDefinition, match=r"sources\.yaml:1: "):
        create_app(read_settings(sources_file=written(tmp_path, "sources.yaml", "webhooks: 3")), log)


def test_without_a_secrets_file_no_delivery_is_taken_and_without_a_sources_file_there_is_no_webhook(tmp_path: Path, log: Audited) -> None:
    with running(create_app(read_settings(sources_file=written(tmp_path, "sources.yaml", SOURCES)), log)) as url:
        assert deliver(url).status_code == 500
    with running(create_app(read_settings(), log)) as url:
        assert deliver(url).status_code == 404
    assert log.kept("agent-messages") == []
