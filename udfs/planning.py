"""Building a job's graph, which Flink's planner has to see from one thread."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_one_thread() -> Iterator[None]:
    """While a graph is built, Python collects no cycles.

    A collection in the midst of a call to the JVM frees Java objects by a second connection, so by a second thread there; the calls that
    follow may go on over that one, where the planner, which is bound to the first, fails: NullPointerException: metadataHandlerProvider.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
