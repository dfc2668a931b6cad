"""Processes of the benchmark: each on a core that it is given, with all that it starts; what they use; and their end.

The benchmark adopts whatever its children leave behind (Linux: PR_SET_CHILD_SUBREAPER, prctl(2)), so that a server that detaches itself
still counts as part of the system that started it, and is ended with it.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

_SET_CHILD_SUBREAPER = 36
_TICK_S, _KILLED_S = 0.05, 10.0
READY = "ready"


class NotReady(Exception):
    """A process did not come up; the text says why."""


def adopt_orphans() -> None:
    """From now on what a descendant leaves behind becomes a child of this process."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def cores() -> tuple[int | None, int | None]:
    """The core for the system under test and the one for everything else; (None, None) where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """What is started in here runs on this core, and so does all that it starts."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Child:
    """A process that prints `ready` when it is. Its output goes to the file `log`."""

    def __init__(self, command: Sequence[str], log: Path, core: int | None, environment: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with pinned(core), log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_ready(self, seconds: float) -> None:
        """Wait until it is. Raises NotReady with the last thing that it said."""
        until = time.monotonic() + seconds
        while READY not in self._said():
            if self._process.poll() is not None:
                raise NotReady(last_words(self._said()) or f"it ended with code {self._process.returncode}")
            if time.monotonic() > until:
                raise NotReady(f"it was not ready within {seconds:.0f} s; {last_words(self._said())}".rstrip("; "))
            time.sleep(_TICK_S)

    def stop(self, seconds: float) -> bool:
        """Ask it to end, and wait; False where it had to be killed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def _said(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


def last_words(said: Sequence[str]) -> str:
    """The last line that says something, shortened."""
    return next((line.strip()[:300] for line in reversed(said) if line.strip()), "")


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants, as far as they are still there."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def descendants(besides: Iterable[int]) -> list[psutil.Process]:
    """All descendants of this process but these and theirs."""
    kept = {one.pid for pid in besides for one in tree(pid)}
    return [one for one in psutil.Process().children(recursive=True) if one.pid not in kept]


def memory_mib(processes: Iterable[psutil.Process]) -> float:
    """Memory that these processes hold now, in MiB; pages that several share are counted once."""
    held = 0.0
    for one in processes:
        with contextlib.suppress(psutil.Error):
            held += one.memory_full_info().pss
    return held / 2**20


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """CPU seconds that these processes have used, those of their ended children included."""
    used = 0.0
    for one in processes:
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def end(processes: Callable[[], list[psutil.Process]]) -> int:
    """Kill what is left of these, and wait for it; how many were still running."""
    killed, until = 0, time.monotonic() + _KILLED_S
    while (left := processes()) and time.monotonic() < until:
        for one in left:
            with contextlib.suppress(psutil.Error):
                if one.status() != psutil.STATUS_ZOMBIE:
                    killed += 1
                    one.kill()
        psutil.wait_procs(left, timeout=1)
    return killed
