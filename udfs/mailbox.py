"""Waking a Flink task through its own mailbox (thread mode), so that a finished call is handled at once and not at the next poll.

The background loop must never touch Java, so it only writes a byte into a pipe. A Java daemon thread reads the pipe and, for each byte,
puts a mail into the task's mailbox; the mail hands the operator a marker record. There is no Java source: the thread's loop is put
together from method handles. Flink closes the reading end with the task, which the background loop sees on its writing end:
the one reliable sign that a task has ended. Uses Flink internals; `udfs.wakeup` falls back to timers where they cannot be had.
"""

import os
from typing import Any

from udfs.host import ThreadHost
from udfs.rows import FIELDS


def _java(name: str) -> Any:
    from pemja import findClass

    return findClass("".join(name))  # a copy: findClass writes into its argument


def _method(target: Any, name: str, *parameters: str) -> Any:
    """A handle of the public method `name` of `target`, bound to it. `parameters` are the simple names of its parameter types."""
    lookup = _java("java.lang.invoke.MethodHandles").publicLookup()
    for method in target.getClass().getMethods():
        if method.getName() == name and tuple(p.getSimpleName() for p in method.getParameterTypes()) == parameters:
            method.setAccessible(True)
            return lookup.unreflect(method).bindTo(target)
    raise LookupError(f"{target.getClass().getName()} has no method {name}{parameters}")


def _as(interface: str, handle: Any) -> Any:
    """`handle` as an object of a Java interface with one method."""
    return _java("java.lang.invoke.MethodHandleProxies").asInterfaceInstance(_java("java.lang.Class").forName(interface), handle)


def watch(host: ThreadHost) -> tuple[Any, int]:
    """Open a pipe whose reading end Flink closes with the task. Returns the Java channel that reads, and the descriptor to write to."""
    cancelables = host.operator.getContainingTask().getCancelables()
    reader, writer = os.pipe()
    try:
        channel = _java("java.io.FileInputStream")(f"/proc/self/fd/{reader}").getChannel()
        cancelables.registerCloseable(channel)
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    return channel, writer


def deliver(host: ThreadHost, channel: Any, name: str) -> None:
    """Start the thread that turns each byte from `channel` into a marker record for the operator."""
    marker = _java("org.apache.flink.streaming.runtime.streamrecord.StreamRecord")(_marker())
    handle = _method(host.operator, "processElement1", "StreamRecord").bindTo(marker)
    mail = _as("org.apache.flink.util.function.ThrowingRunnable", handle)
    executor = host.operator.getContainingTask().getMailboxExecutorFactory().createExecutor(0)
    enqueue = _method(executor, "execute", "ThrowingRunnable", "String").bindTo(mail).bindTo("".join(f"wake {name}"))
    stream = _java("java.io.DataInputStream")(_java("java.nio.channels.Channels").newInputStream(channel))
    loop = _java("java.lang.invoke.MethodHandles").whileLoop(None, _method(stream, "readBoolean"), enqueue)
    task = _java("java.util.concurrent.FutureTask")(_as("java.util.concurrent.Callable", loop))  # it swallows the end of the stream
    thread = _java("java.lang.Thread")(task)
    thread.setName(f"loopwright-wake-{name}")
    thread.setDaemon(True)
    thread.start()


def _marker() -> Any:
    """A record without a topic, as no record is: Row(None, Row(None, ...)), of type KEYED."""
    row = _java("org.apache.flink.types.Row")
    marker = row(2)
    marker.setField(1, row(len(FIELDS)))
    return marker
