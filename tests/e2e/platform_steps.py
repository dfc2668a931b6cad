"""What the platform's test job does with each record: counts it under its key."""

from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueState, ValueStateDescriptor


def key_of(value: str) -> str:
    return value.partition(":")[0]


class Count(KeyedProcessFunction):
    """Emits `<value>=<how many of its key>`. The count is state: it survives what the state survives."""

    seen: ValueState

    def open(self, runtime_context: RuntimeContext) -> None:
        self.seen = runtime_context.get_state(ValueStateDescriptor("seen", Types.LONG()))

    def process_element(self, value: str, ctx: "KeyedProcessFunction.Context") -> Iterator[str]:
        count = (self.seen.value() or 0) + 1
        self.seen.update(count)
        yield f"{value}={count}"
