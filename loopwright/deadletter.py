"""Dead letters: what could not be processed, with the original bytes, where they stood, why, and how to go on.

The headers are those of Kafka Connect's dead letter queues (`__connect.errors.*`), so that existing tools can read them.
"""

import base64
from typing import Any

from loopwright import schemas
from loopwright.masking import masked
from loopwright.message import Message, Rejected, encode, headers_of, record_id
from loopwright.step import Emit

SOURCE = "/loopwright/dead-letters"


def original(value: bytes | None) -> dict[str, str]:
    """The bytes as they were: text where they are UTF-8, base64 otherwise."""
    raw = value or b""
    try:
        return {"encoding": "utf-8", "value": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"encoding": "base64", "value": base64.b64encode(raw).decode("ascii")}


def original_bytes(data: dict[str, Any]) -> bytes:
    """The bytes that a dead letter's `data` keeps."""
    kept = data["original"]
    return base64.b64decode(kept["value"]) if kept["encoding"] == "base64" else str(kept["value"]).encode("utf-8")


def dead_letter(rejected: Rejected, topic: str, stage: str, now_ms: int = 0) -> Emit:
    """The dead letter, for `topic`, of a record that `stage` refused. Its reason is masked; its original bytes are whole."""
    record, why = rejected.record, masked(rejected.why)
    where = f"{record.topic}-{record.partition}-{record.offset}"
    message = Message(
        id=record_id(where, 0, stage, schemas.REJECTED),
        type=schemas.REJECTED,
        source=SOURCE,
        workflow=rejected.workflow or where,
        time_ms=now_ms or record.timestamp_ms,
        data={
            "cause": rejected.cause,
            "stage": stage,
            "why": why,
            "remedy": rejected.remedy,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "original": original(record.value),
        },
    )
    headers = headers_of(message) | {
        "__connect.errors.topic": record.topic.encode(),
        "__connect.errors.partition": str(record.partition).encode(),
        "__connect.errors.offset": str(record.offset).encode(),
        "__connect.errors.stage": stage.encode(),
        "__connect.errors.exception.class.name": rejected.cause.encode(),
        "__connect.errors.exception.message": why.encode("utf-8", "replace"),
    }
    return Emit(topic, message.workflow.encode(), encode(message), headers)
