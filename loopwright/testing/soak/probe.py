"""What is measured of a TaskManager while it runs, and what is done to its JVM: garbage collections and thread dumps."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil

from loopwright.testing.soak.course import Sample

_MIB = 1024 * 1024
_COLLECT_S = 30.0
_HEAP = re.compile(r"^\s*(?:[a-z ]+ generation|garbage-first heap)\s+total \d+K, used (\d+)K", re.MULTILINE)
_METASPACE = re.compile(r"^\s*Metaspace\s+used (\d+)K", re.MULTILINE)


def sample(pid: int, began: float) -> Sample | None:
    """Resident memory (MiB) and threads, by the kernel. None when the process is gone."""
    try:
        process = psutil.Process(pid)
        found = {"resident": process.memory_info().rss / _MIB, "threads": float(process.num_threads())}
    except psutil.Error:
        return None
    return Sample(time.monotonic() - began, found)


def collect(java: Path, pid: int, began: float) -> Sample | None:
    """Force a full garbage collection; what is left in heap and metaspace (MiB). By the runtime's own `jcmd`; None where there is none."""
    if _jcmd(java, pid, "GC.run") is None or (said := _jcmd(java, pid, "GC.heap_info")) is None:
        return None
    return Sample(time.monotonic() - began, left(said))


def left(said: str) -> dict[str, float]:
    """Used heap and metaspace in MiB, as `jcmd PID GC.heap_info` says it (serial collector and G1)."""
    heap, metaspace = _HEAP.findall(said), _METASPACE.findall(said)
    found = {"heap": sum(map(int, heap)) / 1024} if heap else {}
    return found | ({"metaspace": int(metaspace[0]) / 1024} if metaspace else {})


def _jcmd(java: Path, pid: int, command: str) -> str | None:
    try:
        done = subprocess.run([java.with_name("jcmd"), str(pid), command], capture_output=True, text=True, timeout=_COLLECT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def dump_threads(pid: int) -> bool:
    """Have the JVM print all its threads into its log (SIGQUIT); whether it is there to do so."""
    try:
        os.kill(pid, signal.SIGQUIT)
    except ProcessLookupError:
        return False
    return True


def crashes(logs: Path) -> list[str]:
    """The reports that crashed JVMs left behind."""
    return sorted(file.name for file in logs.glob("hs_err_*.log"))
