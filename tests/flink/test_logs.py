"""What Python's own threads log reaches Java by a task's thread alone."""

import logging
import threading
from collections.abc import Iterator

import pytest

from udfs.logs import detour_python_threads, pass_on


class IntoJava(logging.Handler):
    """Stands for pemja's handler: remembers which thread called it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append((record.getMessage(), threading.get_ident()))


IntoJava.__module__ = "pemja.logger"


@pytest.fixture
def handler() -> Iterator[IntoJava]:
    root, handler = logging.getLogger(), IntoJava()
    level = root.level
    root.addHandler(handler)
    detour_python_threads()
    detour_python_threads()
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_task_s_thread_logs_at_once(handler: IntoJava) -> None:
    logging.getLogger("x").warning("at once")
    assert handler.seen == [("at once", threading.get_ident())]


def test_a_python_made_thread_logs_through_the_task_s_thread(handler: IntoJava) -> None:
    background = threading.Thread(target=lambda: logging.getLogger("x").warning("later %d", 1))
    background.start()
    background.join()
    assert handler.seen == []
    pass_on()
    assert handler.seen == [("later 1", threading.get_ident())]
    pass_on()
    assert len(handler.seen) == 1


def test_debug_records_of_libraries_are_not_made(handler: IntoJava) -> None:
    assert not logging.getLogger("asyncio").isEnabledFor(logging.DEBUG)
