"""Functions on their way to a TaskManager, and the code that they arrive in.

A TaskManager in thread mode keeps the modules that it has imported for as long as it lives, those of a job that has ended too. The next
job's code, under the same names, would never be seen. So a function says what code it was sent with, and where other code is loaded, that
is forgotten first. Functions of a job that still runs in the same process keep the modules that they have.
"""

import importlib
import sys
from typing import Any

import cloudpickle

from loopwright.edges.platform.code import PACKAGES, digest

_MARK = "__code__"


class Shipped:
    """To be inherited from by what Flink sends: its fields are unpickled by the code that it was pickled by."""

    def __reduce__(self) -> tuple[Any, ...]:
        return load, (digest(), cloudpickle.dumps((type(self), vars(self))))


def load(code: str, pickled: bytes) -> Any:
    """The function in `pickled`, with modules whose digest is `code`. PyFlink unpickles one function at a time."""
    if _loaded() != code:
        forget()
    made, fields = cloudpickle.loads(pickled)
    setattr(sys.modules["loopwright"], _MARK, code)
    function = made.__new__(made)
    vars(function).update(fields)
    return function


def forget() -> None:
    """Have the packages imported anew by whoever imports them next."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _loaded() -> str:
    """The digest of the code that is loaded: as it was marked, else by the files, which may have been deleted since."""
    marked = getattr(sys.modules.get("loopwright"), _MARK, "")
    return str(marked) or digest()
