"""A Kafka that asks who one is, and lets a user do only so much: whoever lacks a right is told which, at once."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

from loopwright.edges.access import check_access
from loopwright.edges.kafka import Producer, client_config, ensure_topics
from loopwright.edges.platform.broker import Broker
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import HOST, Ports
from loopwright.edges.platform.processes import Processes
from loopwright.edges.topics import topic_specs
from loopwright.errors import InvalidSettings
from loopwright.settings import Kafka, Settings
from loopwright.web.gateway import create_app
from tests.e2e.http_here import running

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-c", "from loopwright.cli.main import main; main()"]
ADMIN, JOB, READER, OUTSIDER = "admin", "job", "reader", "outsider"
LEAD = {"name": "Ada", "email": "ada@example.com", "company_name": "Example Ltd", "lead_source": "webinar"}


def secret(user: str) -> str:
    return f"{user}-hunter2"


@dataclass(frozen=True)
class Guarded:
    """A broker with users and rights."""

    servers: str

    def settings(self, user: str) -> Settings:
        client = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": secret(user),
        }
        return Settings(kafka=Kafka(bootstrap_servers=self.servers, client=client))

    def allow(self, user: str, operation: AclOperation, *topics: str) -> None:
        self._change("create_acls", user, operation, topics)

    def _change(self, what: str, user: str, operation: AclOperation, topics: tuple[str, ...]) -> None:
        admin = AdminClient(client_config(self.settings(ADMIN)))  # held: the futures die with it
        rules = [
            AclBinding(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for name in topics
        ]
        for done in getattr(admin, what)(rules).values():
            done.result()

    def run(self, user: str, *args: str, stdin: bytes = b"") -> tuple[int, Any]:
        """The command line as `user`: exit code and JSON."""
        kafka = self.settings(user).kafka
        own = {"LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "LOOPWRIGHT_KAFKA__CLIENT": json.dumps(kafka.client)}
        done = subprocess.run(
            [*CLI, *args, "--json"], input=stdin, env=os.environ | own, cwd=ROOT, capture_output=True, timeout=100, check=False
        )
        assert secret(user).encode() not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, jars: Jars) -> Iterator[Guarded]:
    layout = Layout.at(tmp_path_factory.mktemp("guarded"))
    layout.make()
    ports = Ports(layout.run / "ports.json")
    own, controller = ports.settle("kafka", False), ports.settle("kafka-controller", False)
    users = " ".join(f'user_{user}="{secret(user)}"' for user in (ADMIN, JOB, READER, OUTSIDER))
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="{ADMIN}" password="{secret(ADMIN)}" {users};'
    settings = {
        "listeners": f"SASL_PLAINTEXT://{HOST}:{own},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"SASL_PLAINTEXT://{HOST}:{own}",
        "listener.security.protocol.map": "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:ANONYMOUS",  # the controller's own listener knows no users
    }
    processes = Processes(layout.run)
    node = Broker(layout, find_java({}, bundled_only=True), jars.paths("kafka"), processes, ports, dict(os.environ), settings=settings)
    node.start()
    try:
        made = Guarded(node.wait_ready(60).url)
        admin = made.settings(ADMIN)
        ensure_topics(admin, topic_specs(admin))
        yield made
    finally:
        node.stop()


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
    guarded.allow(JOB, AclOperation.WRITE, names.messages, names.decisions, names.results, names.audit)
    with pytest.raises(InvalidSettings) as refused:
        check_access(settings)
    assert f"{JOB} lacks WRITE on topic {names.dead_letters}" in refused.value.why
    code, said = guarded.run(JOB, "doctor")
    (finding,) = [found for found in said["findings"] if found["name"] == "rights on Kafka"]
    assert (code, finding["level"]) == (1, "problem")
    assert f"WRITE on topic {names.dead_letters}" in finding["seen"]
    guarded.allow(JOB, AclOperation.WRITE, names.dead_letters)
    check_access(settings)
