"""The topic of agent definitions as a stream that can be broadcast."""

from collections.abc import Iterator

from pyflink.common import Row
from pyflink.datastream import DataStream, FlatMapFunction

from loopwright.wire import plain
from udfs.rows import DEFINITION
from udfs.shipped import Shipped


class DefinitionRow(Shipped, FlatMapFunction):  # type: ignore[misc]  # pyflink is untyped
    """Row(name, definition or None) of a record; none of a record without a readable key, which nobody could look up."""

    def flat_map(self, value: Row) -> Iterator[Row]:
        """Called by Flink for each record."""
        try:
            name = (value[4] or b"").decode("utf-8")
        except UnicodeDecodeError:
            return
        if name:
            yield Row(name, value[5] if value[5] is None else plain(value[5]))


def definition_rows(records: DataStream) -> DataStream:
    """The definitions in `records`, in the order of the topic, by one operator instance.

    Not by `force_non_parallel`: that fixes the operator's maximum parallelism, and a job of one slot could never be given a second one.
    """
    return records.flat_map(DefinitionRow(), DEFINITION).name("definitions").uid("definition-rows").set_parallelism(1)
