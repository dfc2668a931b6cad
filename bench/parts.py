"""Which part of a system takes the processor: its processes by what they are, and the TaskManager, which does most, by its threads."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

TASK_MANAGER = "TaskManager"
PROCESSES = {  # a word of the command line, and what that process is
    "org.apache.flink.runtime.taskexecutor.TaskManagerRunner": TASK_MANAGER,
    "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint": "JobManager",
    "kafka.Kafka": "Kafka",
    "loopwright.edges.platform.supervisor": "supervisor",
}
COMPILERS = ("C1 Compiler", "C2 Compiler")
THREADS = {  # how the name of a thread begins, of which Linux keeps 15 characters, and what it does
    ("route", "dispatch"): "deciding, state, calls",
    ("Source: ",): "reading records apart",
    ("Source Data Fet",): "fetching from Kafka",
    ("kafka-producer",): "writing to Kafka",
    COMPILERS: "compiling",
    ("GC ", "G1 ", "VM Thread"): "collecting garbage",
    ("rocksdb:", "Flink-RocksDBSt"): "keeping RocksDB's files",
}
OTHER = "the rest"


def what_is(command: Sequence[str]) -> str:
    """What the process with this command line is; the driver's client and what else there is are `the rest`."""
    return next((name for word, name in PROCESSES.items() if word in command), OTHER)


def what_does(thread: str) -> str:
    """What a thread of the TaskManager of this name does."""
    return next((text for names, text in THREADS.items() if thread.startswith(names)), OTHER)


def used_s(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """CPU seconds that each part has used so far. Threads that have ended are not seen."""
    found: dict[str, float] = defaultdict(float)
    for one in processes:
        with contextlib.suppress(psutil.Error):
            name = what_is(one.cmdline())
            if name != TASK_MANAGER:
                times = one.cpu_times()
                found[name] += times.user + times.system
                continue
            for thread, seconds in _threads(one):
                found[f"{name}: {what_does(thread)}"] += seconds
    return dict(found)


def compiling_s(processes: Iterable[psutil.Process]) -> float:
    """CPU seconds that the compilers of these processes' JVMs have used so far; those of other processes are not known."""
    found = 0.0
    for one in processes:
        with contextlib.suppress(psutil.Error):
            found += sum(seconds for thread, seconds in _threads(one) if thread.startswith(COMPILERS))
    return found


def per_hop_ms(before: Mapping[str, float], after: Mapping[str, float], hops: float) -> dict[str, float]:
    """CPU ms per hop of each part between two readings."""
    return {name: max(0.0, used - before.get(name, 0.0)) * 1000 / hops for name, used in after.items()} if hops else {}


def _threads(process: psutil.Process) -> Iterator[tuple[str, float]]:
    """The name of each thread of a process, and the CPU seconds that it has used so far."""
    for thread in process.threads():
        yield _called(process.pid, thread.id), thread.user_time + thread.system_time


def _called(pid: int, thread: int) -> str:
    try:
        return Path(f"/proc/{pid}/task/{thread}/comm").read_text().strip()
    except OSError:
        return ""
