"""Logging in Flink's thread mode: from Python's own threads by way of the task's.

There the root logger has a handler that calls into Java (pemja's), at level DEBUG. A Python-made thread must not do that (see
`loopwright.edges.background`), and every library's debug record would pay for a trip into the JVM. So what such a thread logs is put aside,
and a task's thread passes it on when it next has something to do.
"""

import logging
import threading
from collections import deque

from loopwright.process_log import mask_logs

_MOST = 1000  # records put aside; of more, the oldest are lost
_put_aside: deque[tuple[logging.Handler, logging.LogRecord]] = deque(maxlen=_MOST)


class _Detour(logging.Filter):
    """Holds back the records of Python-made threads from one handler."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the handler may have the record now."""
        thread = threading.current_thread()
        if thread is threading.main_thread() or isinstance(thread, threading._DummyThread):
            return True
        _put_aside.append((self._handler, record))
        return False


def detour_python_threads(level: int = logging.INFO) -> None:
    """Set up the detour, once per interpreter, for the handlers that call into Java; other handlers are left as they are.

    From then on nothing is logged unmasked, whichever handler takes it.
    """
    mask_logs()
    root = logging.getLogger()
    for handler in root.handlers:
        if type(handler).__module__.startswith("pemja") and not any(isinstance(f, _Detour) for f in handler.filters):
            handler.addFilter(_Detour(handler))
            root.setLevel(level)
            logging.captureWarnings(True)


def pass_on() -> None:
    """Hand over what was put aside. To be called by a task's thread."""
    while _put_aside:
        try:
            handler, record = _put_aside.popleft()
        except IndexError:
            return  # another task's thread was quicker
        handler.emit(record)
