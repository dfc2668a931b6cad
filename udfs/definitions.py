"""The topic of agent definitions as a stream that can be broadcast."""

from collections.abc import Iterator

from pyflink.common import Row
from pyflink.datastream import DataStream

from loopwright.wire import plain
from udfs.rows import DEFINITION


def definition_row(row: Row) -> Iterator[Row]:
    """Row(name, definition or None) of a record; none of a record without a readable key, which nobody could look up."""
    key, value = row[4], row[5]
    try:
        name = (key or b"").decode("utf-8")
    except UnicodeDecodeError:
        return
    if name:
        yield Row(name, value if value is None else plain(value))


def definition_rows(records: DataStream) -> DataStream:
    """The definitions in `records`, in the order of the topic, by one operator instance.

    Not by `force_non_parallel`: that fixes the operator's maximum parallelism, and a job of one slot could never be given a second one.
    """
    return records.flat_map(definition_row, DEFINITION).name("definitions").uid("definition-rows").set_parallelism(1)
