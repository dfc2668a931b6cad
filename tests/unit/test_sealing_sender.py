"""What the gateway writes is sealed, and no id of it is made of what it holds in clear."""

from collections.abc import Mapping
from typing import Any

import pytest

from loopwright import schemas
from loopwright.dispatch.entrance import sealed_message
from loopwright.errors import InvalidDocument, InvalidSettings
from loopwright.message import Message, emitted, read
from loopwright.registry.catalogue import Catalogue
from loopwright.registry.roster import records_of
from loopwright.sealing import Keys, is_sealed
from loopwright.settings import Limits, Settings
from loopwright.step import Record
from loopwright.web.records import called_back, progressed, started
from loopwright.web.sealing_sender import AGENT_HEADER, SealingSender
from tests.unit.sdr_team import LEAD, sdr_team
from tests.unit.sealed_team import DOCUMENT, OUTPUTS, sealed_team

SETTINGS = Settings(team="sealed")
TOPICS = SETTINGS.topics
KEYS = Keys("a", {"a": b"a" * 32})


class Log:
    def __init__(self) -> None:
        self.sent: list[Record] = []

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None) -> None:
        self.sent.append(Record(topic, 0, 0, 0, key, value, dict(headers or {})))

    def close(self) -> None: ...


class Sealing:
    def __init__(self, keys: Keys | None, *teams: Any) -> None:
        self.keys, self.catalogue = keys, Catalogue(record for team in teams for record in records_of(team))

    def sealed(self, message: Message, agent: str = "") -> Message:
        return sealed_message(message, self.catalogue, self.keys, "sealed", agent)

    def close(self) -> None: ...


def sender(keys: Keys | None = KEYS, settings: Settings = SETTINGS) -> tuple[SealingSender, Log]:
    log = Log()
    return SealingSender(log, Sealing(keys, sealed_team(), sdr_team()), settings), log


def test_a_start_is_written_sealed_and_the_same_start_again_is_the_same_record() -> None:
    made, log = sender()
    for _ in range(2):
        emit = started(TOPICS, "w", DOCUMENT, "", "", 5)
        made.send(emit.topic, emit.key, emit.value, emit.headers)
    first, again = log.sent
    assert first.value == again.value
    document = read(first).data["document"]
    assert (document["name"], is_sealed(document["email"])) == ("Ada", True)


def test_what_holds_nothing_sensitive_is_written_byte_by_byte_as_it_came() -> None:
    made, log = sender()
    emits = [started(TOPICS, "w", LEAD, "sdr", "", 5), progressed(TOPICS, "w", 1, {"agent": "a", "step": 1, "of": 2}, "d", 5)]
    for emit in emits:
        made.send(emit.topic, emit.key, emit.value, emit.headers)
    assert [record.value for record in log.sent] == [emit.value for emit in emits]


def test_a_late_reply_is_sealed_and_its_id_tells_nothing_of_what_it_holds() -> None:
    made, log = sender()
    plain = called_back(TOPICS, "w", 1, "0", {"output": OUTPUTS["finder"]}, "digest-of-the-clear-body", 5)
    for _ in range(2):
        made.send(plain.topic, plain.key, plain.value, plain.headers | {AGENT_HEADER: b"sealed/finder@1"})
    first, again = map(read, log.sent)
    assert is_sealed(first.data["output"]["phone"])
    assert first.id == again.id != read(Record(plain.topic, 0, 0, 0, plain.key, plain.value)).id


def test_without_keys_and_over_the_limit_nothing_is_written() -> None:
    made, log = sender(None)
    emit = emitted(TOPICS.messages, Message("s", schemas.STARTED, "/gateway", "w", {"document": DOCUMENT}))
    with pytest.raises(InvalidSettings):
        made.send(emit.topic, emit.key, emit.value, emit.headers)
    small, other = sender(settings=SETTINGS.model_copy(update={"limits": Limits(message_bytes=300)}))
    with pytest.raises(InvalidDocument):
        small.send(emit.topic, emit.key, emit.value, emit.headers)
    assert log.sent == other.sent == []
