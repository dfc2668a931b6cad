"""The workload on Flink's own async I/O: documents are read from a topic, each gets one hop, and goes back to the topic until it is done.

    work ─> [async wait: model, agent] ─┬─> work
                                        └─> done

The sinks deliver at least once: those that deliver exactly once would hide each hop until the next checkpoint. Checkpoints and restarts
are configured for the cluster.
"""

import os

from pyflink.common import Time, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import AsyncDataStream, DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaRecordSerializationSchema, KafkaSink, KafkaSource

from bench.jobs.async_hop import Hop, ended, goes_on
from bench.jobs.topics import CAPACITY, DONE, KAFKA, SIMULATORS, TIMEOUT_S, WORK


def build(env: StreamExecutionEnvironment, kafka: str, simulators: str) -> None:
    """Add the graph to `env`."""
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(kafka)
        .set_topics(WORK)
        .set_group_id("async-datastream")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_property("fetch.min.bytes", "1")
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    documents = env.from_source(source, WatermarkStrategy.no_watermarks(), WORK, Types.STRING())
    hops = AsyncDataStream.unordered_wait(documents, Hop(simulators), Time.seconds(TIMEOUT_S), CAPACITY, Types.STRING())
    _write(hops.filter(goes_on), kafka, WORK)
    _write(hops.filter(ended), kafka, DONE)


def _write(documents: DataStream, kafka: str, topic: str) -> None:
    written = KafkaRecordSerializationSchema.builder().set_topic(topic).set_value_serialization_schema(SimpleStringSchema()).build()
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(kafka)
        .set_record_serializer(written)
        .set_delivery_guarantee(DeliveryGuarantee.AT_LEAST_ONCE)
        .set_property("linger.ms", "0")
        .build()
    )
    documents.sink_to(sink).name(topic)


def main() -> None:
    """Build the job and hand it to Flink."""
    env = StreamExecutionEnvironment.get_execution_environment()
    build(env, os.environ[KAFKA], os.environ[SIMULATORS])
    env.execute("async data stream")


if __name__ == "__main__":
    main()
