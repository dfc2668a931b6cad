"""What the gateway writes is sealed on its way to Kafka: one place, whichever route it came by."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import orjson

from loopwright.errors import InvalidDocument
from loopwright.message import Message, encode, read, record_id
from loopwright.schemas import CALLED_BACK
from loopwright.settings import Settings
from loopwright.step import Record
from loopwright.web.writer import Sender

AGENT_HEADER = "loopwright-agent"


class Seals(Protocol):
    """What seals a message; see `loopwright.edges.entrance.LiveEntrance`."""

    def sealed(self, message: Message, agent: str = "") -> Message:
        """The message with its sensitive fields sealed. Raises LoopwrightError."""

    def close(self) -> None:
        """Let go of what it holds."""


class SealingSender:
    """Another sender, which gets starts and late replies with their sensitive fields sealed."""

    def __init__(self, sender: Sender, seals: Seals, settings: Settings) -> None:
        self._sender = sender
        self._seals = seals
        self._topics = (settings.topics.messages, settings.topics.callbacks)
        self._most_bytes = settings.limits.message_bytes

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None) -> None:
        """Write a record. Raises what sealing raises, and what the sender raises."""
        if topic in self._topics and value is not None:
            message = read(Record(topic, 0, 0, 0, key, value))
            made = self._seals.sealed(message, (headers or {}).get(AGENT_HEADER, b"").decode("utf-8", "replace"))
            value = value if made is message else self._written(_renamed(made))
        self._sender.send(topic, key, value, headers)

    def _written(self, message: Message) -> bytes:
        value = encode(message)
        if len(value) > self._most_bytes:
            why = f"encrypted, the record has {len(value)} bytes; {self._most_bytes} at most"
            raise InvalidDocument("the record is too large", why, "send less")
        return value

    def close(self) -> None:
        """Let go of the client and of the definitions."""
        self._seals.close()
        self._sender.close()


def _renamed(message: Message) -> Message:
    """A late reply with an id made of what is written, and not of what it holds in clear: a hash of that could be guessed at."""
    if message.type != CALLED_BACK:
        return message
    digest = hashlib.sha256(orjson.dumps(message.data, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return replace(message, id=record_id(message.workflow, message.hop, message.branch, f"{CALLED_BACK}/{digest}"))
