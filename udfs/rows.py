"""The types of the rows that flow between the operators."""

from pyflink.common import Row, Types

from loopwright.step import Emit

_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())

# a workflow and a record of it
RECORD = Types.ROW_NAMED(["workflow", "record"], [Types.STRING(), _BYTES])

# the same with its key before it, as Flink's keyed operators for Python want it
KEYED = Types.ROW([Types.STRING(), RECORD])

# an agent definition: its name and its text; no text: it was removed
DEFINITION = Types.ROW_NAMED(["name", "definition"], [Types.STRING(), _BYTES])

# a record to write
OUTPUT = Types.ROW_NAMED(["topic", "key", "value", "headers"], [Types.STRING(), _BYTES, _BYTES, Types.MAP(Types.STRING(), _BYTES)])


def keyed_row(workflow: str, record: bytes) -> Row:
    """The row of type KEYED for a record of this workflow."""
    return Row(workflow, Row(workflow, record))


def row_of(emit: Emit) -> Row:
    """The row of type OUTPUT that writes `emit`."""
    return Row(emit.topic, emit.key, emit.value, emit.headers)
