"""The types of the rows that flow between the operators."""

from pyflink.common import Row, Types

from loopwright.step import Emit, Record

_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())

# a record as it stands in Kafka, but for its headers
FIELDS = ["topic", "partition", "offset", "timestamp_ms", "key", "value"]
RECORD = Types.ROW_NAMED(FIELDS, [Types.STRING(), Types.INT(), Types.LONG(), Types.LONG(), _BYTES, _BYTES])

# the same with its key as text before it, as Flink's keyed operators for Python want it
KEYED = Types.ROW([Types.STRING(), RECORD])

# an agent definition: its name and its text; no text: it was removed
DEFINITION = Types.ROW_NAMED(["name", "definition"], [Types.STRING(), _BYTES])

# a record to write
OUTPUT = Types.ROW_NAMED(["topic", "key", "value", "headers"], [Types.STRING(), _BYTES, _BYTES, Types.MAP(Types.STRING(), _BYTES)])


def record_of(row: Row) -> Record:
    """The record in a row of type RECORD."""
    return Record(*row)


def row_of(emit: Emit) -> Row:
    """The row of type OUTPUT that writes `emit`."""
    return Row(emit.topic, emit.key, emit.value, emit.headers)
