"""The gateway over real HTTP: pages, starts, callbacks and progress, with Kafka there and away."""

import re
from collections.abc import Iterator, Mapping
from threading import Event
from typing import Any

import orjson
import pytest
import requests

from loopwright.edges.kafka import Producer, read_all
from loopwright.errors import Unreachable
from loopwright.intake import parse
from loopwright.message import Message
from loopwright.settings import Limits, Settings, read_settings
from loopwright.step import Record
from loopwright.web.gateway import create_app
from tests.e2e.http_here import free_port, process, running

LEAD = {"name": "Zoë", "email": "zoe@example.com", "company_name": "Acme", "lead_source": "demo request", "job_title": ""}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Log:
    """Keeps what is sent, or fails as it is told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes, Mapping[str, bytes]]] = []
        self.fault: Exception | None = None

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append((topic, key, value or b"", headers or {}))

    def close(self) -> None: ...

    def messages(self) -> list[Message]:
        read = [parse(Record(topic, 0, n, 0, key, value), Limits()) for n, (topic, key, value, _) in enumerate(self.sent)]
        assert all(isinstance(message, Message) for message in read), read
        return [message for message in read if isinstance(message, Message)]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def base(log: Log) -> Iterator[str]:
    with running(create_app(read_settings(), log)) as url:
        yield url


def post(url: str, body: Any, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return requests.post(url, data=data, headers={"content-type": "application/json", **headers}, timeout=60)


def test_the_form_starts_a_workflow_on_the_lead(base: str, log: Log) -> None:
    answer = requests.post(base + "/leads", data=LEAD, timeout=20)
    (message,) = log.messages()
    assert (answer.status_code, answer.url) == (200, f"{base}/workflows/{message.workflow}")
    assert f"loopwright trace {message.workflow}" in answer.text
    assert message.type == "loopwright.workflow.started"
    assert message.data == {"document": {name: value for name, value in LEAD.items() if value}}
    assert log.sent[0][:2] == ("agent-messages", message.workflow.encode())


def test_a_form_that_is_sent_twice_starts_one_workflow(base: str, log: Log) -> None:
    page = requests.get(base + "/", timeout=20).text
    (form_id,) = re.findall(r'name="form_id" value="([0-9a-f]{20})"', page)
    urls = {requests.post(base + "/leads", data={**LEAD, "form_id": form_id}, timeout=20).url for _ in range(2)}
    assert len(urls) == 1
    assert len({message.workflow for message in log.messages()}) == 1
    requests.post(base + "/leads", data={**LEAD, "form_id": form_id, "name": "Somebody else"}, timeout=20)
    assert len({message.workflow for message in log.messages()}) == 2


def test_what_is_wrong_stands_beside_the_field_and_what_was_typed_stays(base: str, log: Log) -> None:
    answer = requests.post(base + "/leads", data={**LEAD, "email": '"><script>alert(1)</script>', "name": "<b>Zoë"}, timeout=20)
    assert answer.status_code == 422
    assert 'id="email-error"' in answer.text
    assert 'aria-describedby="email-error" aria-invalid="true"' in answer.text
    assert 'value="&lt;b&gt;Zoë"' in answer.text
    assert "<script>" not in answer.text
    assert '<option value="demo request" selected>' in answer.text
    assert log.sent == []


def test_pages_let_nothing_foreign_in(base: str) -> None:
    page = requests.get(base + "/", timeout=20)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert requests.get(base + "/style.css", timeout=20).headers["content-type"].startswith("text/css")
    assert "loopwright trace lead-01.x" in requests.get(base + "/workflows/lead-01.x", timeout=20).text
    assert requests.get(base + "/workflows/x;echo%20y", timeout=20).status_code == 404


def test_the_form_keeps_what_was_typed_when_kafka_is_away(base: str, log: Log) -> None:
    log.fault = Unreachable("Kafka does not answer", "no broker", "start it")
    answer = requests.post(base + "/leads", data=LEAD, timeout=20)
    assert (answer.status_code, "Your lead was not taken" in answer.text, 'value="Zoë"' in answer.text) == (503, True, True)
    (form_id,) = re.findall(r'name="form_id" value="([0-9a-f]{20,32})"', answer.text)
    log.fault = None
    requests.post(base + "/leads", data={**LEAD, "form_id": form_id}, timeout=20)
    assert len(log.sent) == 1


def test_a_document_starts_a_workflow(base: str, log: Log) -> None:
    answer = post(base + "/workflows?team=sdr", {"a": {"b": [1]}}, traceparent=TRACE)
    (message,) = log.messages()
    assert (answer.status_code, answer.json()) == (202, {"workflow": message.workflow})
    assert answer.headers["location"] == f"/workflows/{message.workflow}"
    assert (message.data, message.traceparent) == ({"document": {"a": {"b": [1]}}, "team": "sdr"}, TRACE)


def test_the_same_key_gives_the_same_workflow_and_none_gives_another(base: str) -> None:
    keyed = {post(base + "/workflows", {"a": 1}, **{"idempotency-key": '"k"'}).json()["workflow"] for _ in range(2)}
    free = {post(base + "/workflows", {"a": 1}).json()["workflow"] for _ in range(2)}
    assert (len(keyed), len(free)) == (1, 2)


def test_a_late_reply_becomes_a_record(base: str, log: Log) -> None:
    assert post(base + "/callbacks/a%2Fb/3/main", {"output": {"x": 1}, "next": "complete", "secret": 1}).status_code == 202
    assert post(base + "/callbacks/a%2Fb/3/main", {"error": {"message": "no", "retryable": True}}).status_code == 202
    one, two = log.messages()
    assert (one.type, one.workflow, one.hop, one.branch) == ("loopwright.agent.called-back", "a/b", 3, "main")
    assert one.data == {"branch": "main", "output": {"x": 1}, "next": "complete"}
    assert two.data == {"branch": "main", "error": {"message": "no", "retryable": True}}
    assert one.id != two.id
    assert {topic for topic, *_ in log.sent} == {"agent-callbacks"}


def test_a_late_reply_that_names_another_call_than_its_address_is_refused(base: str, log: Log) -> None:
    for names, status in (
        ({"ce-workflowid": "a%2Fb", "ce-hop": "3"}, 202),
        ({"ce-workflowid": "c", "ce-hop": "3"}, 422),
        ({"ce-workflowid": "a%2Fb", "ce-hop": "4"}, 422),
    ):
        assert post(base + "/callbacks/a%2Fb/3/main", {"output": {"x": 1}}, **names).status_code == status
    assert len(log.sent) == 1


def test_the_same_late_reply_has_the_same_id(base: str, log: Log) -> None:
    for _ in range(2):
        post(base + "/callbacks/w/3/main", {"output": {"x": 1}})
    assert len({message.id for message in log.messages()}) == 1


def test_progress_becomes_a_record(base: str, log: Log) -> None:
    assert post(base + "/progress/w/3", {"agent": "echo", "step": 1, "of": 2, "branch": "main"}).status_code == 202
    topic, key, value, _ = log.sent[0]
    record = orjson.loads(value)
    assert (topic, key, record["type"], record["hop"]) == ("agent-progress", b"w", "loopwright.agent.progress", 3)
    assert record["data"] == {"text": "", "agent": "echo", "step": 1, "of": 2}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/workflows", b"[1]", {}, 422),
        ("/workflows", b'{"a": NaN}', {}, 422),
        ("/workflows", b'{"a": "' + b"x" * 600_000 + b'"}', {}, 413),
        ("/workflows", b"{}", {"content-type": "text/plain"}, 415),
        ("/workflows", b"{}", {"idempotency-key": "k" * 257}, 400),
        ("/workflows?team=A%20B", b"{}", {}, 400),
        ("/callbacks/w/3/main", b"{}", {}, 422),
        ("/callbacks/w/3/main", b'{"output": {}, "error": {"message": "x"}}', {}, 422),
        ("/callbacks/w/3/main", b'{"output": 1}', {}, 422),
        ("/callbacks/w/three/main", b'{"output": {}}', {}, 404),
        ("/callbacks/w/99999999999999/main", b'{"output": {}}', {}, 404),
        ("/callbacks/" + "w" * 257 + "/3/main", b'{"output": {}}', {}, 404),
        ("/progress/w/3", b'{"agent": "x", "step": -1, "of": 2}', {}, 422),
        ("/progress/w/3", b'{"agent": "x", "step": 1, "of": 2, "text": "' + b"x" * 10_001 + b'"}', {}, 413),
        ("/nowhere", b"{}", {}, 404),
    ],
)
def test_what_cannot_be_used_is_a_problem_and_writes_nothing(
    base: str, log: Log, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = post(base + path, body, **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert log.sent == []


def test_without_kafka_the_answer_is_503_with_a_remedy(base: str, log: Log) -> None:
    log.fault = Unreachable("Kafka does not answer", "no broker", "start it")
    answer = post(base + "/workflows", {"a": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "start it" in answer.json()["detail"]


def test_nobody_waits_for_a_silent_broker(log: Log) -> None:
    silent = Event()

    class Silent(Log):
        def send(self, topic: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None) -> None:
            silent.wait(30)

    app = create_app(read_settings(), Silent(), patience_s=0.1)
    with running(app) as url:
        answer = post(url + "/workflows", {"a": 1})
        silent.set()
    assert answer.status_code == 503
    assert "Idempotency-Key" in answer.json()["detail"]


def test_the_process_without_a_broker_serves_pages_and_says_what_is_missing() -> None:
    port = free_port()
    with process("-m", "loopwright.web.gateway", port=port, LOOPWRIGHT_HOME="/nonexistent/loopwright"):
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=20).status_code == 200
        answer = post(f"http://127.0.0.1:{port}/workflows", {"a": 1})
    assert (answer.status_code, "loopwright up" in answer.json()["detail"]) == (503, True)


def test_records_stand_in_a_real_topic_before_the_answer_leaves(kafka: Settings) -> None:
    with running(create_app(kafka, Producer(kafka))) as url:
        name = post(url + "/workflows", {"name": "Zoë"}).json()["workflow"]
        post(url + f"/callbacks/{name}/1/main", {"output": {"x": 1}})
        records = list(read_all(kafka, [kafka.topics.messages, kafka.topics.callbacks]))
    read = {record.topic: parse(record, Limits()) for record in records}
    start, reply = read[kafka.topics.messages], read[kafka.topics.callbacks]
    assert isinstance(start, Message)
    assert isinstance(reply, Message)
    assert (start.workflow, start.data["document"]) == (name, {"name": "Zoë"})
    assert (reply.workflow, reply.hop, reply.data["output"]) == (name, 1, {"x": 1})
