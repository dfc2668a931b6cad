"""Sources with a real Kafka: gateways and schedulers as processes of their own, killed and started again, two at a time."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from loopwright.clock import now_ms
from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.schedules import note_of
from loopwright.intake import parse
from loopwright.message import Message
from loopwright.settings import Limits, Settings
from loopwright.sources.times import instants
from tests.e2e.http_here import free_port, process, until
from tests.e2e.test_webhooks_http import KEY, deliver, written

SOURCES = """\
webhooks:
  orders: {document: /data}
schedules:
  nightly: {cron: 0 0 * * *, document: {day: "${date}"}, missed: run-all, missed_within: 744h}
  new: {cron: 0 0 * * *, document: {}, missed: run-all}
"""


@pytest.fixture
def environment(kafka: Settings, tmp_path: Path) -> dict[str, str]:
    return {
        "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": kafka.kafka.bootstrap_servers,
        **{f"LOOPWRIGHT_TOPICS__{name.upper()}": topic for name, topic in kafka.topics.model_dump().items()},
        "LOOPWRIGHT_SOURCES_FILE": str(written(tmp_path, "sources.yaml", SOURCES)),
        "LOOPWRIGHT_SECRETS_FILE": str(written(tmp_path, "secrets.json", orjson.dumps({"webhook/orders": KEY}).decode())),
    }


def starts(kafka: Settings) -> list[Message]:
    read = [parse(record, Limits()) for record in read_all(kafka, [kafka.topics.messages])]
    assert all(isinstance(message, Message) for message in read), read
    return [message for message in read if isinstance(message, Message)]


def test_a_delivery_gives_one_workflow_whichever_gateway_takes_it_and_however_often(kafka: Settings, environment: dict[str, str]) -> None:
    ports = [free_port(), free_port()]
    answers: list[Any] = []
    for _ in range(2):  # after a restart too
        with ExitStack() as running:
            for port in ports:
                running.enter_context(process("-m", "loopwright.web.gateway", port=port, **environment))
                answers += [deliver(f"http://127.0.0.1:{port}", delivery=delivery).json() for delivery in ("evt_1", "evt_2")]
    found = starts(kafka)
    assert len(found) == len(answers) == 8, "each answer was given when the record was there"
    for delivery in ("evt_1", "evt_2"):
        mine = [message for message in found if message.correlation == delivery]
        assert len({(message.workflow, message.id, orjson.dumps(message.data)) for message in mine}) == 1
        assert {"workflow": mine[0].workflow} in answers
    assert len({message.workflow for message in found}) == 2


def dealt_with(port: int) -> dict[str, Any] | None:
    """What a scheduler says of its schedules, once it has dealt with all of them."""
    state = requests.get(f"http://127.0.0.1:{port}/health", timeout=5).json()
    known = state["schedules"]
    return known if known and all(one["until"] for one in known.values()) else None


def test_two_schedulers_and_a_restart_start_each_missed_time_under_one_id(kafka: Settings, environment: dict[str, str]) -> None:
    since_ms = int((datetime.now(UTC) - timedelta(days=3)).timestamp() * 1000)
    with Producer(kafka) as producer:
        producer.send(kafka.topics.schedules, b"nightly", note_of("nightly", since_ms))
    ports = [free_port(), free_port()]
    with ExitStack() as running:
        for port in ports:
            running.enter_context(process("-m", "loopwright.cli.schedule", port=port, **environment))
        told = [until(lambda port=port: dealt_with(port), "the schedules") for port in ports]
    wanted = list(takewhile(lambda at_ms: at_ms <= now_ms(), instants("0 0 * * *", "UTC", since_ms)))
    found = starts(kafka)
    days = [datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in wanted]
    assert {message.workflow for message in found} == {f"nightly:{day:%Y-%m-%dT%H:%M:%SZ}" for day in days}
    assert {message.data["document"]["day"] for message in found} == {f"{day:%Y-%m-%d}" for day in days}
    assert len({message.id for message in found}) == len(wanted)
    assert {one["nightly"]["until"] for one in told} == {f"{days[-1]:%Y-%m-%dT%H:%M:%S}.000Z"}
    with process("-m", "loopwright.cli.schedule", port=ports[0], **environment):
        again = until(lambda: dealt_with(ports[0]), "the schedules")
    assert again["nightly"] == told[0]["nightly"]
    assert len(starts(kafka)) == len(found), "the notes say that all was done"
