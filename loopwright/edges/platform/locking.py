"""One `up` or `down` at a time for a state folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import Conflict


@contextmanager
def locked(file: Path, seconds: float) -> Iterator[None]:
    """Hold the lock `file`; wait for it up to `seconds`, then raise Conflict. The kernel frees it when its holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:

        def take() -> bool:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if wait_for(take, seconds) is None:
            why = f"another `up` or `down` has held {file} for more than {seconds:.0f} s"
            raise Conflict("this platform is being started or stopped already", why, "wait for it, or end that command, then try again")
        yield
