"""The platform's test job: `platform_job.py BOOTSTRAP_SERVERS`. Counts records of `in` by key into `out`."""

import sys

from platform_steps import Count, key_of
from pyflink.common import Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaRecordSerializationSchema, KafkaSink, KafkaSource

if sys.argv[1] == "wrong":
    raise ValueError("this job cannot be built")

servers = sys.argv[1]
env = StreamExecutionEnvironment.get_execution_environment()
source = (
    KafkaSource.builder()
    .set_bootstrap_servers(servers)
    .set_topics("in")
    .set_group_id("platform-test")
    .set_starting_offsets(KafkaOffsetsInitializer.earliest())
    .set_value_only_deserializer(SimpleStringSchema())
    .build()
)
out = KafkaRecordSerializationSchema.builder().set_topic("out").set_value_serialization_schema(SimpleStringSchema()).build()
counted = (
    env.from_source(source, WatermarkStrategy.no_watermarks(), "in")
    .uid("in")
    .key_by(key_of, Types.STRING())
    .process(Count(), Types.STRING())
)
counted.uid("count").sink_to(KafkaSink.builder().set_bootstrap_servers(servers).set_record_serializer(out).build()).uid("out")
env.execute("count")
