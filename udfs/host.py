"""What a keyed operator needs of its Flink task beyond PyFlink's public interface: to switch the current key, and to set a timer for it.

Both are needed to fold an outcome, or a definition, into the state of a key whose record is not the one at hand. PyFlink runs functions in
two ways, inside the JVM (thread mode) or in a worker process (process mode), and each keeps the current key in a place of its own. This is
the only module that knows those places.
"""

from typing import Any, Protocol

from pyflink.common import Row
from pyflink.datastream import RuntimeContext


class Host(Protocol):
    """The task around an operator instance. To be used from the task's thread alone."""

    def set_key(self, key: str) -> None:
        """Make `key` the one whose state and timers are meant from now on."""

    def set_timer(self, at_ms: int) -> None:
        """Set a processing-time timer for the current key, in ms since the epoch."""

    def seen(self, ctx: Any) -> None:
        """Take note of the context that Flink handed to the function just called."""


class ThreadHost:
    """Thread mode: the Java operator itself, reached through the function's Java context (an inner class of the operator)."""

    def __init__(self, runtime_context: RuntimeContext) -> None:
        from pemja import findClass

        context = runtime_context._keyed_state_backend._function_context
        field = context._j_context.getClass().getDeclaredField("this$0")
        field.setAccessible(True)
        self.operator = field.get(context._j_context)
        self._timers = context.timer_service()
        self._row = findClass("org.apache.flink.types.Row")

    def set_key(self, key: str) -> None:
        """The operator's key is a Row of one field; state on the heap keeps it, so each time a fresh one."""
        row = self._row(1)
        row.setField(0, key)
        self.operator.setCurrentKey(row)

    def set_timer(self, at_ms: int) -> None:
        """See Host."""
        self._timers.register_processing_time_timer(at_ms)

    def seen(self, ctx: Any) -> None:
        """Nothing to note: the operator's own timer service is used."""


class ProcessHost:
    """Process mode: the worker's view of keyed state, and the timer service of the latest context."""

    def __init__(self, runtime_context: RuntimeContext) -> None:
        self._backend = runtime_context._keyed_state_backend
        self._timers: Any = None

    def set_key(self, key: str) -> None:
        """See Host."""
        self._backend.set_current_key(Row(key))

    def set_timer(self, at_ms: int) -> None:
        """See Host."""
        self._timers.register_processing_time_timer(at_ms)

    def seen(self, ctx: Any) -> None:
        """See Host."""
        self._timers = ctx.timer_service()


def host_of(runtime_context: RuntimeContext) -> Host:
    """The host that fits the way this function is run."""
    if hasattr(runtime_context._keyed_state_backend, "_function_context"):
        return ThreadHost(runtime_context)
    return ProcessHost(runtime_context)
