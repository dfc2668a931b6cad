"""What a process logs, without secrets: every record is masked where it is made, whichever library makes it and whichever handler takes it.

See `loopwright.masking` for what is found. It is no reason to log a document: nothing here does.
"""

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from loopwright.masking import masked

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MARK = "_loopwright_masks"


def mask_logs() -> None:
    """Have the records of this process masked from now on: message, exception, stack. Safe to repeat."""
    made_before = logging.getLogRecordFactory()
    if getattr(made_before, _MARK, False):
        return

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return mask_record(made_before(*args, **kwargs))

    setattr(factory, _MARK, True)
    logging.setLogRecordFactory(factory)


def mask_record(record: logging.LogRecord) -> logging.LogRecord:
    """The record without secrets. One that holds none stays as it is, so that formatters find its arguments."""
    try:
        said = record.getMessage()
    except Exception:  # the message and its arguments do not fit: logging would print both
        said, record.args = f"{record.msg} {record.args!r}", ()
        record.msg = masked(said)
    if masked(said) != said:
        record.msg, record.args = masked(said), ()
    if record.exc_info and record.exc_info[0] is not None:
        told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if masked(told) != told:  # some handlers format the exception themselves: they are left the text alone
            record.exc_info, record.exc_text = None, masked(told)
    if record.stack_info:
        record.stack_info = masked(record.stack_info)
    return record


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log to stderr, masked: for a process of ours, at its start."""
    logging.basicConfig(level=level, format=FORMAT)
    mask_process()


def mask_process() -> None:
    """Have everything masked that this process logs, and what it says of an exception that nobody caught, in any thread.

    A hook for such exceptions that somebody has set stays. Safe to repeat.
    """
    mask_logs()
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _say
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda failed: _say(failed.exc_type, failed.exc_value, failed.exc_traceback)


def _say(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
