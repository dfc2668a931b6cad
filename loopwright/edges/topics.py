"""The topics that the product needs, as they are made where they do not exist yet.

Records pass through tiers: hot on the brokers' disks, warm in their tiered storage (KIP-405), and then they are gone from Kafka; what is to
be kept for longer is read from the topics and archived elsewhere.
"""

from loopwright.edges.kafka import MAX_MESSAGE_BYTES, TopicSpec
from loopwright.errors import InvalidSettings
from loopwright.settings import Retention, Settings

LARGE = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
APPEND_TIME = LARGE | {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"}
COMPACTED = LARGE | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
FOR_EVER = -1


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """All topics of `settings`. Records are stamped by the broker, so that no producer's clock can move a deadline.

    Raises InvalidSettings where a workflow may take longer than its records are kept.
    """
    topics, kept = settings.topics, settings.retention
    workflows = (topics.messages, topics.questions, topics.decisions, topics.callbacks, topics.results)
    others = {topics.dead_letters: kept.dead_letters_ms, topics.progress: kept.progress_ms, topics.audit: kept.audit_ms}
    tiers = _tiers(kept)
    _check(settings, kept)
    made = [_spec(settings, name, total_ms(kept), tiers) for name in workflows]
    made += [_spec(settings, name, ms) for name, ms in others.items()]
    return [*made, *(TopicSpec(name, 1, settings.kafka.replication, COMPACTED) for name in (topics.definitions, topics.schedules))]


def total_ms(kept: Retention) -> int:
    """How long Kafka keeps what happens to workflows, in either tier, in ms; -1: for ever."""
    return FOR_EVER if kept.hot_ms == FOR_EVER else kept.hot_ms + kept.warm_ms


def _spec(settings: Settings, name: str, ms: int, tiers: dict[str, str] | None = None) -> TopicSpec:
    config = APPEND_TIME | {"retention.ms": str(ms)}
    return TopicSpec(name, settings.kafka.partitions, settings.kafka.replication, config, tiers or {})


def _tiers(kept: Retention) -> dict[str, str]:
    """What a topic is given besides where the brokers have tiered storage: after `hot_ms` their disks let go of it."""
    if not kept.warm_ms or kept.hot_ms == FOR_EVER:
        return {}
    return {"remote.storage.enable": "true", "local.retention.ms": str(kept.hot_ms)}


def _check(settings: Settings, kept: Retention) -> None:
    total, longest = total_ms(kept), settings.limits.deadline_ms
    if total != FOR_EVER and total < longest:
        why = f"LOOPWRIGHT_RETENTION__HOT_MS and __WARM_MS make {total} ms, LOOPWRIGHT_LIMITS__DEADLINE_MS is {longest}"
        raise InvalidSettings("records would be gone before their workflow has ended", why, "keep them for longer, or shorten the deadline")
