"""A job with Python in one task of each TaskManager alone: `one_python_task_job.py BOOTSTRAP_SERVERS`.

Writes each record of `in` to `out` as `<value>=1`.
"""

import sys

from pyflink.common import Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaRecordSerializationSchema, KafkaSink, KafkaSource

servers = sys.argv[1]
env = StreamExecutionEnvironment.get_execution_environment()
source = (
    KafkaSource.builder()
    .set_bootstrap_servers(servers)
    .set_topics("in")
    .set_group_id("one-python-task")
    .set_starting_offsets(KafkaOffsetsInitializer.earliest())
    .set_value_only_deserializer(SimpleStringSchema())
    .build()
)
out = KafkaRecordSerializationSchema.builder().set_topic("out").set_value_serialization_schema(SimpleStringSchema()).build()
read = env.from_source(source, WatermarkStrategy.no_watermarks(), "in").uid("in")
told = read.map(lambda value: f"{value}=1", Types.STRING()).uid("tell")
told.rebalance().sink_to(KafkaSink.builder().set_bootstrap_servers(servers).set_record_serializer(out).build()).uid("out")
env.execute("one python task")
