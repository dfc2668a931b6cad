"""The topics that the product needs, as they are made where they do not exist yet."""

from loopwright.edges.kafka import MAX_MESSAGE_BYTES, TopicSpec
from loopwright.settings import Settings

LARGE = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
APPEND_TIME = LARGE | {"message.timestamp.type": "LogAppendTime"}


def topic_specs(settings: Settings, partitions: int = 4) -> list[TopicSpec]:
    """All topics of `settings`. Records are stamped by the broker, so that no producer's clock can move a deadline."""
    topics = settings.topics
    keyed = [name for field, name in topics.model_dump().items() if field != "definitions"]
    compacted = LARGE | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
    return [TopicSpec(name, partitions, config=APPEND_TIME) for name in keyed] + [TopicSpec(topics.definitions, 1, config=compacted)]
