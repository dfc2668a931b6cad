"""Child processes that outlive the command that started them: started, found again by another command, and stopped.

Each has a file `run/<name>.json`. A process is known by its pid *and* the time it was created, so a reused pid is never taken for ours,
and never killed.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import PlatformFailed

LARGE_LOG_BYTES = 20_000_000
_SAME_CREATION_S = 1.5
_KILL_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: a name, the arguments, the whole environment, the working folder, the log (stdout and stderr), and the ports."""

    name: str
    args: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    ports: Mapping[str, int] = field(default_factory=dict)
    url: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that was started: `created` is the time of its creation in seconds since the epoch, as the kernel says it."""

    name: str
    pid: int
    created: float
    args: tuple[str, ...]
    log: str
    ports: dict[str, int]
    url: str

    def process(self) -> psutil.Process | None:
        """The live process; None when it ended or was killed, even if its pid is in use again."""
        try:
            found = psutil.Process(self.pid)
            return found if self.owns_pid() and found.status() != psutil.STATUS_ZOMBIE and not _ending(self.pid) else None
        except psutil.Error:
            return None

    def ending(self) -> bool:
        """Whether it was killed or its first thread has ended, and other threads of it still hold its memory, its files and its ports."""
        return self.owns_pid() and _ending(self.pid)

    def owns_pid(self) -> bool:
        """Whether its pid still stands for it, alive or a zombie, and for no other process."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created) < _SAME_CREATION_S
        except psutil.Error:
            return False

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process() is not None

    def listens(self, port: int) -> bool:
        """Whether it is this process that listens on `port`, not another one that was quicker. True where the system does not tell."""
        process = self.process()
        try:
            open_sockets = process.net_connections("tcp") if process is not None else []
        except psutil.AccessDenied:
            return True
        except psutil.NoSuchProcess:
            return False
        return any(one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port for one in open_sockets)

    def uptime_s(self) -> float:
        """Seconds since it was started."""
        return time.time() - self.created


class Processes:
    """The processes of one state folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._starting = threading.Lock()
        self._closed = False

    def start(self, command: Command) -> Started:
        """Start a process in a session of its own, detached from the terminal, and write its file. Raises PlatformFailed once closed."""
        command.log.parent.mkdir(parents=True, exist_ok=True)
        if command.log.exists() and command.log.stat().st_size > LARGE_LOG_BYTES:
            command.log.replace(command.log.with_name(command.log.name + ".1"))
        with self._starting:
            if self._closed:
                raise PlatformFailed(f"{command.name} was not started", "the command was interrupted", "run it again")
            started = self._spawn(command)
            self._write(started)
        return started

    def _spawn(self, command: Command) -> Started:
        args = tuple(map(str, command.args))
        with command.log.open("ab") as log, _working_in_batches():
            child = subprocess.Popen(
                args,
                env=dict(command.environment),
                cwd=command.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[command.name] = child
        return Started(command.name, child.pid, _created(child.pid), args, str(command.log), dict(command.ports), command.url)

    def find(self, name: str) -> Started | None:
        """The process that was last started under `name` and not stopped since; it may have died."""
        return _read(self._folder / f"{name}.json")

    def running(self, name: str) -> Started | None:
        """The process of that name if it is alive.

        A child of ours counts as alive until it can be waited for: a JVM that is going shows as a zombie while its last threads end.
        """
        found = self.find(name)
        child = self._children.get(name)
        if found is None or child is None or child.pid != found.pid:
            return found if found is not None and found.alive() else None
        return found if child.poll() is None else None

    def wait_ended(self, seconds: float) -> bool:
        """Wait for the processes that are ending, up to `seconds`: what they hold is not free before. True when all have ended."""
        return wait_for(lambda: not any(found.ending() for name in self.names() if (found := self.find(name))), seconds) is not None

    def names(self) -> list[str]:
        """Names of all processes that were started and not stopped, in the order of their start."""
        found = [s for s in map(_read, self._folder.glob("*.json")) if s is not None]
        return [s.name for s in sorted(found, key=lambda s: s.created)]

    def exit_code(self, name: str) -> int | None:
        """The exit code of a process that this object started; None while it runs, or when another command started it."""
        child = self._children.get(name)
        return None if child is None else child.poll()

    def stop(self, name: str, seconds: float, alone: bool = False) -> bool:
        """SIGTERM, up to `seconds` to end, then SIGKILL for it and, unless `alone`, all its descendants. True when SIGTERM was enough."""
        found = self.running(name)
        process = found.process() if found is not None else None
        clean = True if process is None else self._end(name, process, seconds, alone)
        (self._folder / f"{name}.json").unlink(missing_ok=True)
        self._children.pop(name, None)
        return clean

    def stop_all(self, names: Sequence[str], seconds: float) -> None:
        """Stop several at the same time."""
        with ThreadPoolExecutor(max(1, len(names))) as pool:
            list(pool.map(lambda name: self.stop(name, seconds), names))

    def close(self, seconds: float) -> None:
        """Stop what this very object started, and start nothing more: for a command that is interrupted."""
        self.shut()
        self.stop_all(list(self._children), seconds)

    def shut(self) -> None:
        """Start nothing more. What was started goes on running."""
        with self._starting:
            self._closed = True

    def end_remains(self, name: str) -> None:
        """Kill what is left of a process that died: whatever runs on in its session, as a Python worker of a dead TaskManager does."""
        found = self.find(name)
        if found is None or (psutil.pid_exists(found.pid) and not found.owns_pid()):
            return
        for process in psutil.process_iter():
            if process.pid != found.pid and _session(process) == found.pid:
                _signal(process, kill=True)

    def _end(self, name: str, process: psutil.Process, seconds: float, alone: bool) -> bool:
        family = [] if alone else _descendants(process)
        _signal(process, kill=False)
        clean = wait_for(lambda: self.running(name) is None, seconds) is not None
        for member in [*family, *([] if alone else _descendants(process)), process]:
            _signal(member, kill=True)
        wait_for(lambda: self.running(name) is None, _KILL_DEADLINE_S)
        return clean

    def _write(self, started: Started) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{started.name}.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({"process": asdict(started)}, indent=2) + "\n")
        os.replace(fresh, file)


def _read(file: Path) -> Started | None:
    try:
        said = json.loads(file.read_text())["process"]
        return Started(**{**said, "args": tuple(said["args"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ending(pid: int) -> bool:
    """Linux tells it: SIGKILL is pending for the whole process, or its first thread is a zombie and others are not. Elsewhere False."""
    try:
        said = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        threads, killed = int(said["Threads"]), int(said["ShdPnd"], 16) >> (signal.SIGKILL - 1) & 1
        zombie = said["State"].split()[0] == "Z"
    except (OSError, ValueError, KeyError):
        return False
    return threads > 1 if zombie else bool(killed)


@contextmanager
def _working_in_batches() -> Iterator[None]:
    """What is started in here gives up a core when it has nothing to do, not whenever another of its kind is woken (Linux: SCHED_BATCH).

    A record passes a dozen threads of the broker and of the TaskManager. Where these share a core and each is switched to as soon as it
    is woken, much of the processor's time goes into the changes; so each does what there is for it first.
    """
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:  # no such thing here, or somebody chose otherwise
        yield
        return
    _schedule(os.SCHED_BATCH)
    try:
        yield
    finally:
        _schedule(os.SCHED_OTHER)


def _schedule(policy: int) -> None:
    with suppress(OSError):  # where it is not allowed it stays as it is
        os.sched_setscheduler(0, policy, os.sched_param(0))


def _created(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return time.time()


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return -1


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _signal(process: psutil.Process, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        return
