"""The ends of the platform's test jobs: text from the topic `in`, text to the topic `out`."""

from pyflink.common import WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaRecordSerializationSchema, KafkaSink, KafkaSource


def read_in(env: StreamExecutionEnvironment, servers: str, group: str) -> DataStream:
    """The values of `in`, from the earliest on."""
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(servers)
        .set_topics("in")
        .set_group_id(group)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    return env.from_source(source, WatermarkStrategy.no_watermarks(), "in").uid("in")


def write_out(stream: DataStream, servers: str) -> None:
    """Write each value to `out`."""
    out = KafkaRecordSerializationSchema.builder().set_topic("out").set_value_serialization_schema(SimpleStringSchema()).build()
    stream.sink_to(KafkaSink.builder().set_bootstrap_servers(servers).set_record_serializer(out).build()).uid("out")
