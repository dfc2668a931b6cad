"""What is missing or wrong on this machine for a local platform, each finding with its remedy. Changes nothing."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from loopwright.edges.platform.flink import JOB_MANAGER
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.jvm import site_packages
from loopwright.edges.platform.ports import is_free
from loopwright.edges.platform.processes import Started
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import expected_names, status
from loopwright.errors import LoopwrightError

PYTHONS = ((3, 11), (3, 12))
NEEDED_DISK_GB, GOOD_DISK_GB = 1.0, 5.0
NEEDED_MEMORY_GB, GOOD_MEMORY_GB = 2.0, 3.5
_EARLIEST = 1_735_689_600  # 2025-01-01: a clock before it is wrong
_GB = 1024**3

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, how it stands, what was seen, and what to do (empty when it is fine)."""

    name: str
    level: Level
    seen: str
    remedy: str = ""


def examine(stack: Stack) -> tuple[Finding, ...]:
    """Look at everything. A check that fails itself is a finding too."""
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(stack)
        except (LoopwrightError, OSError, psutil.Error) as error:
            remedy = error.remedy if isinstance(error, LoopwrightError) else "mend that, then run `loopwright doctor` again"
            said = f"{error.what}: {error.why}" if isinstance(error, LoopwrightError) else str(error)
            found.append(Finding(check.__name__.lstrip("_").replace("_", " "), "problem", said, remedy))
    return tuple(found)


def _python(_stack: Stack) -> Iterator[Finding]:
    version = f"Python {sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] in PYTHONS:
        yield Finding("python", "ok", version)
    else:
        yield Finding("python", "problem", version, "apache-flink needs Python 3.11 or 3.12: run `make setup PYTHON=python3.11`")
    if sys.prefix == sys.base_prefix:
        yield Finding("virtual environment", "warning", "this Python is not in one", "run `make setup`, then use .venv/bin/loopwright")
    base = Path(sys.base_prefix) / "bin" / "python3"
    if not base.exists():
        yield Finding("base python", "problem", f"{base} is not there", "the job's runtime looks for it: use a Python that has bin/python3")


def _flink_package(_stack: Stack) -> Iterator[Finding]:
    jar = next((site_packages() / "pyflink" / "lib").glob("flink-dist-*.jar"), None)
    if jar is None:
        yield Finding("apache-flink", "problem", f"not installed in {site_packages()}", "run `make setup`")
    else:
        yield Finding("apache-flink", "ok", jar.stem.removeprefix("flink-dist-"))


def _java(stack: Stack) -> Iterator[Finding]:
    java = find_java(stack.config.environment, stack.config.bundled_java)
    yield Finding("java", "ok", f"Java {java.version} from {java.source}: {java.home}")


def _jars(stack: Stack) -> Iterator[Finding]:
    jars, on_demand = Jars(stack.cache), stack.config.jars
    missing, wanted = jars.missing(on_demand), len(jars.wanted(on_demand))
    if missing:
        seen = f"{len(missing)} of {wanted} are not in {stack.cache}, {missing[0].coordinate} for one"
        yield Finding("jars", "warning", seen, "the next `loopwright up` fetches them; it needs the network for that")
    else:
        yield Finding("jars", "ok", f"{wanted} in {stack.cache}")


def _disk(stack: Stack) -> Iterator[Finding]:
    for name, folder in (("disk", stack.layout.home), ("disk of the cache", stack.cache)):
        free = shutil.disk_usage(_existing(folder)).free / _GB
        level: Level = "problem" if free < NEEDED_DISK_GB else "warning" if free < GOOD_DISK_GB else "ok"
        yield Finding(name, level, f"{free:.1f} GB free for {folder}", "" if level == "ok" else "make room; records and checkpoints grow")


def _memory(_stack: Stack) -> Iterator[Finding]:
    free = psutil.virtual_memory().available / _GB
    level: Level = "problem" if free < NEEDED_MEMORY_GB else "warning" if free < GOOD_MEMORY_GB else "ok"
    remedy = "" if level == "ok" else "close other programs: Kafka, Flink and the agents take about 2.5 GB"
    yield Finding("memory", level, f"{free:.1f} GB available", remedy)


def _write_access(stack: Stack) -> Iterator[Finding]:
    for name, folder in (("state folder", stack.layout.home), ("cache folder", stack.cache)):
        try:
            with tempfile.TemporaryFile(dir=_existing(folder)):
                yield Finding(name, "ok", str(folder))
        except OSError as error:
            remedy = "set LOOPWRIGHT_HOME and LOOPWRIGHT_CACHE to folders that you may write to"
            yield Finding(name, "problem", f"{folder} cannot be written: {error.strerror}", remedy)


def _ports(stack: Stack) -> Iterator[Finding]:
    running = [s for name in stack.processes.names() if (s := stack.processes.running(name)) is not None]
    ours = {port for started in running for port in started.ports.values()}
    taken = {name: port for name, port in stack.ports.known().items() if port not in ours and not is_free(port)}
    seen = ", ".join(f"{name} {port}" for name, port in sorted((taken or stack.ports.known()).items())) or "none chosen yet"
    if taken:
        yield Finding("ports", "warning", f"taken by another program: {seen}", "the next `loopwright up` chooses others")
    else:
        yield Finding("ports", "ok", seen)


def _clock(stack: Stack) -> Iterator[Finding]:
    now = time.time()
    newest = max((file.stat().st_mtime for file in stack.layout.logs.glob("*.log")), default=now)
    if now < _EARLIEST or newest > now + 60:
        seen = f"it is {time.strftime('%Y-%m-%d %H:%M', time.gmtime(now))} UTC, the newest log is from {newest - now:.0f} s later"
        yield Finding("clock", "problem", seen, "set the clock: records, deadlines and timers go by it")
    else:
        yield Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))


def _leftovers(stack: Stack) -> Iterator[Finding]:
    """Processes that name this state folder in their command line and that no file of ours knows."""
    known = {started.pid for name in stack.processes.names() if (started := stack.processes.find(name)) is not None}
    strays = [p for p in _of_this_user() if p.pid not in known and _names(p, stack.layout.home)]
    for stray in strays:
        remedy = f"it belongs to an earlier run; end it with `kill {stray.pid}`"
        yield Finding("leftover process", "warning", f"pid {stray.pid}: {' '.join(stray.cmdline())[:80]}", remedy)
    if not strays:
        yield Finding("leftover processes", "ok", "none")


def _health(stack: Stack) -> Iterator[Finding]:
    if not any(_alive(stack.processes.find(name)) for name in expected_names(stack.config)):
        yield Finding("platform", "ok", "it is not running; `loopwright up` starts it")
        return
    now = status(stack.config)
    for service in now.services:
        level: Level = "ok" if service.state == "running" else "problem"
        seen = service.detail or f"{service.state}, {service.url or f'pid {service.pid}'}"
        yield Finding(service.name, level, seen, "" if level == "ok" else f"run `loopwright up`; its log is {service.log}")
    if now.job is not None:
        well = now.job.state == "RUNNING"
        seen = f"{now.job.state}, {now.job.restarts} restarts" + (f"; {now.job.exception}" if now.job.exception else "")
        remedy = "" if well else f"run `loopwright up`; read {stack.layout.log(JOB_MANAGER)}"
        yield Finding("job", "ok" if well else "problem", seen, remedy)


CHECKS: tuple[Callable[[Stack], Iterator[Finding]], ...] = (
    _python,
    _flink_package,
    _java,
    _jars,
    _disk,
    _memory,
    _write_access,
    _ports,
    _clock,
    _leftovers,
    _health,
)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _alive(started: Started | None) -> bool:
    return started is not None and started.alive()


def _of_this_user() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["uids"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == os.getuid() and process.pid != os.getpid():
            yield process


def _names(process: psutil.Process, home: Path) -> bool:
    try:
        return any(f"-Djava.io.tmpdir={home}/" in argument for argument in process.cmdline())
    except psutil.Error:
        return False
