"""What a process logs holds no secret: message, arguments, exception, stack, whichever handler takes it."""

import io
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.process_log import mask_logs, mask_record
from tests.unit.test_masking import KEYS, NAMES, PEM, SECRET

SHAPES = [*KEYS, PEM, f"Bearer {SECRET}", f"https://user:{SECRET}@host/", f"password={SECRET}", f"Authorization: Basic {SECRET}=="]
SHAPES += [f'{{"{name}": "{SECRET}"}}' for name in NAMES]
TELLING = [SECRET, *KEYS, "hunter2"]


class Raw(logging.Handler):
    """Formats for itself, the exception too, as the handler does that calls into Java."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self.said.append(f"{self.format(record)} {trace} {record.exc_text} {record.stack_info} {record.args}")


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, Raw]]:
    before, logger, raw = logging.getLogRecordFactory(), logging.getLogger("test.process_log"), Raw()
    mask_logs()
    mask_logs()
    logger.addHandler(raw)
    logger.propagate = False
    yield logger, raw
    logger.removeHandler(raw)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("secret", SHAPES)
def test_a_secret_is_in_no_part_of_what_is_logged(log: tuple[logging.Logger, Raw], secret: str) -> None:
    logger, raw = log
    logger.error(f"said {secret} there")
    logger.error("said %s there", secret)
    logger.error("said %(it)s there", {"it": secret})
    logger.error("does not fit %d", secret)
    try:
        raise ValueError(secret) from KeyError(secret)
    except ValueError:
        logger.exception("it failed on %s", secret)
    logger.error("a stack", stack_info=True)
    told = "\n".join(raw.said)
    assert len(raw.said) == 6
    assert not [shape for shape in TELLING if shape in told], told
    assert "ValueError" in told


def test_what_holds_no_secret_is_logged_as_it_is(log: tuple[logging.Logger, Raw]) -> None:
    record = logging.LogRecord("n", logging.INFO, "p", 1, "listening on %s:%d", ("host", 1), None)
    assert (mask_record(record).args, record.getMessage()) == (("host", 1), "listening on host:1")


@given(st.text(), st.sampled_from(SHAPES), st.text())
@settings(max_examples=60)
def test_whatever_stands_round_it(before: str, secret: str, after: str) -> None:
    record = mask_record(logging.LogRecord("n", logging.INFO, "p", 1, "%s", (f"{before} {secret} {after}",), None))
    assert not [shape for shape in TELLING if shape in record.getMessage() and shape not in before + after]


def test_a_process_says_no_secret_even_where_nobody_caught_it() -> None:
    code = (
        "import logging, threading\nfrom loopwright.process_log import log_to_stderr\nlog_to_stderr()\n"
        f"logging.getLogger('lib').warning('key %s', {KEYS[0]!r})\n"
        f"t = threading.Thread(target=lambda: [][{KEYS[1]!r}]); t.start(); t.join()\n"
        f"raise RuntimeError({KEYS[2]!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert ("RuntimeError: ***" in done.stderr, "key ***" in done.stderr) == (True, True)
    shown = "".join(line for line in io.StringIO(done.stderr) if not line.startswith("    "))  # the source that a traceback quotes
    assert not [key for key in KEYS if key in shown], done.stderr
