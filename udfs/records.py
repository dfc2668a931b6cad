"""Kafka topics as streams of records, and back: key, value and where a record stood; headers on the way out.

Both ends are the Table connector with raw formats, since PyFlink's own KafkaSource reads values alone and drops tombstones. The sink takes
the topic from each row. Delivery is at least once: a record is visible at once, and what was written since the last checkpoint may be
written again after a failure; consumers tell duplicates by their ids.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table, TableDescriptor
from pyflink.table.expressions import col, row

from loopwright.edges.java_client import java_properties
from udfs.rows import KEYED
from udfs.uids import name_all, named, transformations

_BYTES, _STRING = DataTypes.BYTES(), DataTypes.STRING()
_HEADERS = DataTypes.MAP(_STRING, _BYTES)
_COLUMNS = ("topic", "partition", "offset", "timestamp_ms", "key", "value")
_MILLIS = "1000 * EXTRACT(EPOCH FROM `t`) + EXTRACT(MILLISECOND FROM `t`)"  # a plain cast to BIGINT is refused
_PLACE = "CONCAT(`topic`, '-', CAST(`partition` AS STRING), '-', CAST(`offset` AS STRING))"
_MAX_REQUEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Kafka is: `host:port,...`, and properties for every client, by librdkafka's names (`sasl.username`, ...)."""

    bootstrap_servers: str
    client: Mapping[str, str] = field(default_factory=dict)

    def options(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Connector options; `extra` and the client properties get their prefix. The client's own win."""
        properties = {"bootstrap.servers": self.bootstrap_servers, **extra, **java_properties(self.client)}
        return {f"properties.{name}": value for name, value in properties.items()}


def kafka_source(
    tables: StreamTableEnvironment, cluster: Cluster, topics: Sequence[str], group: str, uid: str, from_start: bool = False
) -> DataStream:
    """Rows (topic, partition, offset, timestamp_ms, key, value). Key and value may be None.

    Without state it starts at the group's committed offsets, or at the earliest where there are none; `from_start`: always at the earliest.
    """
    records = _records(tables, cluster, topics, group, uid, from_start)
    return named(tables.to_data_stream(records.select(*map(col, _COLUMNS))), uid)


def keyed_source(tables: StreamTableEnvironment, cluster: Cluster, topics: Sequence[str], group: str, uid: str) -> DataStream:
    """Rows of type KEYED, made without Python: a record, and before it its key as text (where it has none, the place where it stands).

    It starts as `kafka_source` does.
    """
    records = _records(tables, cluster, topics, group, uid, from_start=False)
    stream = tables.to_data_stream(records.select(col("key_text"), row(*map(col, _COLUMNS))))
    stream._j_data_stream.getTransformation().setOutputType(KEYED.get_java_type_info())  # the planner's own type has no fields for Python
    return named(stream, uid)


def _records(tables: StreamTableEnvironment, cluster: Cluster, topics: Sequence[str], group: str, uid: str, from_start: bool) -> Table:
    descriptor = (
        TableDescriptor.for_connector("kafka")
        .schema(_source_schema())
        .option("topic", ";".join(topics))
        .option("scan.startup.mode", "earliest-offset" if from_start else "group-offsets")
        .option("scan.topic-partition-discovery.interval", "10 s")  # until then, records in an added partition wait
        .option("key.format", "raw")
        .option("key.fields", "key")
        .option("value.format", "raw")
        .option("value.fields-include", "EXCEPT_KEY")
    )
    consumer = {"group.id": group, "auto.offset.reset": "earliest", "fetch.min.bytes": "1", "isolation.level": "read_committed"}
    for name, value in cluster.options(consumer).items():
        descriptor = descriptor.option(name, value)
    tables.get_config().set("table.local-time-zone", "UTC")  # what _MILLIS counts in
    return tables.from_path(_table(tables, uid, descriptor))


def kafka_sink(tables: StreamTableEnvironment, cluster: Cluster, stream: DataStream, topics: Sequence[str], uid: str) -> None:
    """Write rows (topic, key, value, headers) of type `udfs.keyed_loop.OUTPUT`. A topic that is not among `topics` fails the job."""
    descriptor = (
        TableDescriptor.for_connector("kafka")
        .schema(_sink_schema())
        .option("topic-pattern", "|".join(map(re.escape, topics)))  # a single "topic" would leave no topic column to write
        .option("key.format", "raw")
        .option("key.fields", "key")
        .option("value.format", "raw")
        .option("value.fields-include", "EXCEPT_KEY")
        .option("sink.delivery-guarantee", "at-least-once")
    )
    producer = {"acks": "all", "enable.idempotence": "true", "linger.ms": "0", "max.request.size": str(_MAX_REQUEST_BYTES)}
    for name, value in cluster.options(producer).items():
        descriptor = descriptor.option(name, value)
    name = _table(tables, uid, descriptor)
    statements = tables.create_statement_set()
    statements.add_insert(name, tables.from_data_stream(stream))
    env = stream.get_execution_environment()
    before = len(transformations(env))
    statements.attach_as_datastream()
    for sink in transformations(env)[before:]:
        name_all(sink, uid)


def _source_schema() -> Schema:
    return (
        Schema.new_builder()
        .column("key", _BYTES)
        .column("value", _BYTES)
        .column_by_metadata("topic", _STRING.not_null(), is_virtual=True)
        .column_by_metadata("partition", DataTypes.INT().not_null(), is_virtual=True)
        .column_by_metadata("offset", DataTypes.BIGINT().not_null(), is_virtual=True)
        .column_by_metadata("t", DataTypes.TIMESTAMP_LTZ(3).not_null(), "timestamp", is_virtual=True)
        .column_by_expression("timestamp_ms", _MILLIS)
        .column_by_expression("key_text", f"COALESCE(CAST(`key` AS STRING), {_PLACE})")
        .build()
    )


def _sink_schema() -> Schema:
    return (
        Schema.new_builder()
        .column_by_metadata("topic", _STRING.not_null())
        .column("key", _BYTES)
        .column("value", _BYTES)
        .column_by_metadata("headers", _HEADERS)
        .build()
    )


def _table(tables: StreamTableEnvironment, uid: str, descriptor: TableDescriptor.Builder) -> str:
    name = f"table_{uid.replace('-', '_')}"
    tables.create_temporary_table(name, descriptor.build())
    return name
