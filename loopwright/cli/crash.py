"""An error that nobody foresaw: a short message, and the traceback in a file."""

import tempfile
import traceback
from pathlib import Path

from loopwright.errors import LoopwrightError, Terminal
from loopwright.masking import masked


def keep_traceback(error: Exception) -> LoopwrightError:
    """Write the traceback of `error` to the state folder's logs, or to a temporary file; the error to show says where."""
    text = masked("".join(traceback.format_exception(error)))
    try:
        from loopwright.settings import read_settings

        folder = read_settings().home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "loopwright-error.log"
        file.write_text(text, encoding="utf-8", errors="replace")
    except (OSError, LoopwrightError):
        with tempfile.NamedTemporaryFile("w", prefix="loopwright-error-", suffix=".log", delete=False) as kept:
            kept.write(text)
        file = Path(kept.name)
    why = masked(f"{type(error).__name__}: {' '.join(str(error).split())}")[:300]
    return Terminal(
        "loopwright met an error that it did not foresee", why, f"the traceback is in {file}; please report it with what you did"
    )
