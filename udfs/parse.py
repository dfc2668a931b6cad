"""From records as they stood in a topic to records with a key: the place where bad input becomes a stream of its own."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pyflink.common import Row
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from loopwright.intake import intake
from loopwright.settings import Limits
from loopwright.step import Emit, Record
from udfs.rows import OUTPUT, keyed_row, row_of

REJECTED = OutputTag("rejected", OUTPUT)

Parse = Callable[[Record], tuple[str, bytes] | Emit | None]


class ParseRecords(ProcessFunction):  # type: ignore[misc]  # pyflink is untyped
    """Rows of `udfs.records.kafka_source` become rows of type KEYED on the main output, or a record to write on `REJECTED`.

    That is a dead letter, or the record itself, to be written to its topic once more under its key (counted as `filed_again`).
    `make_parse` is an importable factory, called when the task opens; what it makes must not raise. None is counted as `skipped`.
    """

    def __init__(self, make_parse: Callable[[], Parse]) -> None:
        self._make_parse = make_parse

    def open(self, runtime_context: RuntimeContext) -> None:
        """Called by Flink when the task starts."""
        metrics = runtime_context.get_metrics_group().add_group("loopwright")
        self._parse = self._make_parse()
        self._skipped, self._rejected, self._filed = (metrics.counter(name) for name in ("skipped", "rejected", "filed_again"))

    def process_element(self, value: Row, ctx: Any) -> Iterator[Any]:  # noqa: ARG002
        """Parse one record."""
        record = record_of(value)
        parsed = self._parse(record)
        if parsed is None:
            self._skipped.inc()
        elif isinstance(parsed, Emit):
            (self._filed if parsed.topic == record.topic else self._rejected).inc()
            yield REJECTED, row_of(parsed)
        else:
            yield keyed_row(*parsed)


def record_of(row: Row) -> Record:
    """The record in a row of `udfs.records.kafka_source`."""
    topic, partition, offset, timestamp_ms, key, value, headers = row
    return Record(topic, partition, offset, timestamp_ms, key, value, dict(headers or {}))


def intake_with(limits: Limits, dead_letters: str) -> Parse:
    """The job's parse: `loopwright.intake` with these limits and this topic for dead letters."""
    return partial(intake, limits=limits, dead_letters=dead_letters)
