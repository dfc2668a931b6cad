"""A Kafka that asks who one is, and lets a user do only so much: whoever lacks a right is told which, at once."""

import json
from collections.abc import Iterator

import pytest
import requests
from confluent_kafka.admin import AclOperation

from loopwright.edges.access import check_access
from loopwright.edges.kafka import Producer
from loopwright.edges.platform.jars import Jars
from loopwright.errors import InvalidSettings
from loopwright.web.gateway import create_app
from tests.e2e.guarded_broker import JOB, OUTSIDER, READER, Guarded, guarded_broker, secret
from tests.e2e.http_here import running

pytestmark = pytest.mark.timeout(240)
LEAD = {"name": "Ada", "email": "ada@example.com", "company_name": "Example Ltd", "lead_source": "webinar"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, jars: Jars) -> Iterator[Guarded]:
    with guarded_broker(tmp_path_factory.mktemp("guarded"), jars) as made:
        yield made


def test_a_user_without_any_right_is_told_which_topic_is_closed_to_it(guarded: Guarded) -> None:
    lead = json.dumps(LEAD).encode()
    for args in (["send", "-"], ["dlq", "list"], ["verify"], ["agents", "list"]):
        code, said = guarded.run(OUTSIDER, *args, stdin=lead)
        assert (code, said["error"]) == (2, "InvalidSettings"), said
        assert "AUTHORIZATION_FAILED" in said["why"], said
        assert "agent-" in said["what"], said
        assert "LOOPWRIGHT_KAFKA__CLIENT" in said["remedy"]


def test_who_may_read_and_not_write_reads_and_is_told_that_it_may_not_write(guarded: Guarded) -> None:
    settings = guarded.settings(READER)
    guarded.allow(READER, AclOperation.READ, *settings.topics.model_dump().values())
    assert guarded.run(READER, "verify")[0] == 0
    assert guarded.run(READER, "dlq", "list")[0] == 0
    code, said = guarded.run(READER, "send", "-", stdin=json.dumps(LEAD).encode())
    assert (code, said["error"]) == (2, "InvalidSettings"), said
    assert "agent-messages" in said["what"]


def test_a_wrong_password_is_named_as_such(guarded: Guarded) -> None:
    settings = guarded.settings(READER)
    wrong = settings.kafka.model_copy(update={"client": settings.kafka.client | {"sasl.password": "wrong"}})
    with pytest.raises(InvalidSettings) as refused:
        check_access(settings.model_copy(update={"kafka": wrong}))
    assert "wrong" not in refused.value.why


def test_the_gateway_refuses_what_it_may_not_write_and_its_log_says_why(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    settings = guarded.settings(OUTSIDER)
    with running(create_app(settings, Producer(settings))) as url:
        reply = requests.post(f"{url}/workflows", json=LEAD, timeout=30)
    assert reply.status_code == 500
    assert "its log says what is missing" in reply.text
    assert "agent-messages" in caplog.text
    assert "AUTHORIZATION_FAILED" in caplog.text
    assert secret(OUTSIDER) not in reply.text + caplog.text


def test_what_the_job_lacks_is_said_before_it_is_started(guarded: Guarded) -> None:
    settings = guarded.settings(JOB)
    names = settings.topics
    guarded.allow(JOB, AclOperation.READ, names.messages, names.decisions, names.callbacks, names.definitions)
    guarded.allow(JOB, AclOperation.WRITE, names.messages, names.decisions, names.callbacks, names.results, names.audit)
    with pytest.raises(InvalidSettings) as refused:
        check_access(settings)
    assert f"{JOB} lacks WRITE on topic {names.dead_letters}" in refused.value.why
    code, said = guarded.run(JOB, "doctor")
    (finding,) = [found for found in said["findings"] if found["name"] == "rights on Kafka"]
    assert (code, finding["level"]) == (1, "problem")
    assert f"WRITE on topic {names.dead_letters}" in finding["seen"]
    guarded.allow(JOB, AclOperation.WRITE, names.dead_letters)
    check_access(settings)
