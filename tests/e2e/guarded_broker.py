"""A Kafka broker that asks who one is (SASL/PLAIN), and lets each user do what it was allowed to."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from loopwright.edges.kafka import client_config, ensure_topics
from loopwright.edges.platform.broker import Broker
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import HOST, Ports
from loopwright.edges.platform.processes import Processes
from loopwright.edges.topics import topic_specs
from loopwright.settings import Kafka, Settings

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-c", "from loopwright.cli.main import main; main()"]
ADMIN, JOB, READER, OUTSIDER = "admin", "job", "reader", "outsider"


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

    def allow(self, user: str, operation: AclOperation, *names: str, what: ResourceType = ResourceType.TOPIC) -> None:
        """Let `user` do this with these topics, or groups."""
        self._change("create_acls", AclBinding, user, operation, names, what)

    def forbid(self, user: str, operation: AclOperation, *names: str) -> None:
        """Take a right away again."""
        self._change("delete_acls", AclBindingFilter, user, operation, names, ResourceType.TOPIC)

    def _change(self, change: str, kind: Any, user: str, operation: AclOperation, names: tuple[str, ...], what: ResourceType) -> None:
        admin = AdminClient(client_config(self.settings(ADMIN)))  # held: the futures die with it
        allow, literal = AclPermissionType.ALLOW, ResourcePatternType.LITERAL
        rules = [kind(what, name, literal, f"User:{user}", "*", operation, allow) for name in names]
        for done in getattr(admin, change)(rules).values():
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


@contextmanager
def guarded_broker(home: Path, jars: Jars) -> Iterator[Guarded]:
    """A broker with the topics, and users without any right."""
    layout = Layout.at(home)
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
