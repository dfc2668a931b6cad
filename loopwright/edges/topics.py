"""The topics that the product needs, as they are made where they do not exist yet."""

from loopwright.edges.kafka import MAX_MESSAGE_BYTES, TopicSpec
from loopwright.settings import Settings

LARGE = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
APPEND_TIME = LARGE | {"message.timestamp.type": "LogAppendTime"}


def topic_specs(settings: Settings, partitions: int = 4) -> list[TopicSpec]:
    """All topics of `settings`. Records are stamped by the broker, so that no producer's clock can move a deadline."""
    topics = settings.topics
    keyed = [topics.messages, topics.decisions, topics.callbacks, topics.results, topics.dead_letters, topics.progress, topics.audit]
    compacted = LARGE | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
    kept = [topics.definitions, topics.schedules]
    return [TopicSpec(name, partitions, config=APPEND_TIME) for name in keyed] + [TopicSpec(name, 1, config=compacted) for name in kept]
