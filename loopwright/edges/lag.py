"""How far a consumer group is behind: what stands in Kafka and was not taken in yet, by the offsets that the job commits at checkpoints."""

import confluent_kafka as ck

from loopwright.edges.kafka import client_config, topics
from loopwright.settings import Settings

_DEADLINE_S = 10.0


def lag_of(settings: Settings, group: str, topic: str) -> int:
    """Records of `topic` after the offsets that `group` has committed. Raises confluent_kafka.KafkaException where no broker answers."""
    consumer = ck.Consumer(client_config(settings) | {"group.id": group, "enable.auto.commit": False})
    try:
        parts = [ck.TopicPartition(topic, number) for number in range(topics(settings).get(topic, 0))]
        behind = 0
        for part in consumer.committed(parts, timeout=_DEADLINE_S):
            low, high = consumer.get_watermark_offsets(part, timeout=_DEADLINE_S)
            behind += high - (part.offset if part.offset >= 0 else low)
        return behind
    finally:
        consumer.close()
