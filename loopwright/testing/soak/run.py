"""A soak: the platform and the load come up, the TaskManager is worn by every means for some minutes, and judged."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from loopwright.cli.stack import at
from loopwright.edges.platform.config import Observer
from loopwright.edges.platform.flink import task_manager
from loopwright.edges.platform.flink_config import FlinkConfig, Memory
from loopwright.edges.platform.processes import Started
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError, PlatformFailed
from loopwright.settings import Settings
from loopwright.testing.chaos.effects import witnessed
from loopwright.testing.chaos.load import Load
from loopwright.testing.chaos.platform import JOB_S, own_settings, tormented
from loopwright.testing.chaos.run import FIRST_S, Tell, verified
from loopwright.testing.chaos.team import SDR
from loopwright.testing.soak.course import Course
from loopwright.testing.soak.probe import collect, crashes, dump_threads, sample
from loopwright.testing.soak.report import SoakReport, report_of

# the heap is taken at once, so that resident memory grows by what leaks, and not by a heap that was not touched yet; the pool of threads
# that would grow by one with each restart, up to four per core, is full at once
FLAGS = (f"-Xms{Memory().framework_heap + Memory().task_heap}m", "-XX:+AlwaysPreTouch", "-XX:NativeMemoryTracking=summary")
ROCKSDB = FlinkConfig(settings={"state.backend.type": "rocksdb", "cluster.io-pool.size": "2"}, flags=FLAGS)
REMEMBERED_MS = 20_000  # less than from one restart to the next: nothing is forgotten right after one
MANAGER = task_manager(1)
STOP_S = 90.0


@dataclass(frozen=True)
class SoakOptions:
    """For `minutes`: a look every `look_s`, a garbage collection and a thread dump every `wear_s`, a restart of the job every `restart_s`
    (in turn with a savepoint, and cancelled and resumed from its newest checkpoint)."""

    minutes: float = 30.0
    in_flight: int = 100
    pause_s: float = 1.0
    look_s: float = 5.0
    wear_s: float = 10.0
    restart_s: float = 60.0
    drain_s: float = 600.0


def soak(home: Path, options: SoakOptions, tell: Tell, observer: Observer) -> SoakReport:
    """Run it in the state folder `home`, which must be a new one; nothing is left running. Raises what the platform raises."""
    own = own_settings(home)
    settings = own.model_copy(update={"limits": own.limits.model_copy(update={"deduplication_ms": REMEMBERED_MS})})
    more = {"LOOPWRIGHT_LIMITS__DEDUPLICATION_MS": str(REMEMBERED_MS)}  # what is remembered does not grow for an hour
    stack = Stack(replace(tormented(settings, options.pause_s, ROCKSDB, more), supervisor=False), observer)
    try:
        return _soaked(stack, at(settings, stack.up()), options, tell)
    finally:
        Stack(stack.config).down()


def _soaked(stack: Stack, settings: Settings, options: SoakOptions, tell: Tell) -> SoakReport:
    load, course = Load(settings, options.in_flight), Course()
    load.start()
    try:
        if wait_for(lambda: bool(load.tally.ends), FIRST_S) is None:
            raise PlatformFailed("no workflow came to its end", f"nothing within {FIRST_S:.0f} s", f"read {stack.layout.logs}")
        _wear(stack, load, options, course, tell)
        load.stop_sending()
        tell(f"{load.in_flight} workflows are brought to their end")
        wait_for(lambda: not load.tally.left(), options.drain_s)
    finally:
        load.close()
    done = witnessed(stack.layout.home, SDR, load.tally)
    return report_of(options.minutes, course, crashes(stack.layout.logs), load.tally, done, verified(settings))


def _wear(stack: Stack, load: Load, options: SoakOptions, course: Course, tell: Tell) -> None:
    """Look, collect, dump and restart, each at its own pace, until the time is over or the TaskManager died."""
    manager = stack.processes.running(MANAGER)
    if manager is None:
        raise PlatformFailed("the TaskManager does not run", "it ended before the soak began", f"read {stack.layout.log(MANAGER)}")
    java, began, in_turn = stack.java.executable, time.monotonic(), 0

    def look() -> None:
        course.add(sample(manager.pid, began))

    def wear() -> None:
        collected = collect(java, manager.pid, began)
        course.add(collected)
        course.collections += collected is not None
        course.dumps += dump_threads(manager.pid)

    def restart() -> None:
        nonlocal in_turn
        in_turn += 1
        seconds = restart_job(stack, with_savepoint=in_turn % 2 == 1)
        course.restarts += 1
        course.restarted_s.append(seconds)
        figures = ", ".join(f"{name} {value:.0f}" for name, value in course.newest().items())
        tell(f"{time.monotonic() - began:6.0f} s  restart {course.restarts} took {seconds:.1f} s; {len(load.tally.ends)} done; {figures}")

    _paced(
        [(options.look_s, look), (options.wear_s, wear), (options.restart_s, restart)], options.minutes * 60, lambda: _lives(stack, manager)
    )
    course.died = not _lives(stack, manager)


def _lives(stack: Stack, manager: Started) -> bool:
    running = stack.processes.running(MANAGER)
    return running is not None and running.pid == manager.pid


def _paced(tasks: list[tuple[float, Callable[[], None]]], seconds: float, go_on: Callable[[], bool]) -> None:
    """Do each task every so many seconds, one at a time."""
    began = time.monotonic()
    due = [began + every for every, _ in tasks]
    while go_on() and time.monotonic() < began + seconds:
        for number, (every, task) in enumerate(tasks):
            if time.monotonic() >= due[number]:
                task()
                due[number] = max(due[number] + every, time.monotonic())
        time.sleep(0.1)


def restart_job(stack: Stack, with_savepoint: bool) -> float:
    """Stop the job, with a savepoint or without, and submit it from its newest point. Seconds from the stop until all its tasks run."""
    began, jobs = time.monotonic(), stack.jobs
    job, current = stack.config.job, jobs.current()
    if job is None or current is None:
        raise PlatformFailed("the job cannot be restarted", "it is not known to the cluster", "`loopwright status` says what runs")
    try:
        point = jobs.stop_with_savepoint(current.id, STOP_S) if with_savepoint else None
    except LoopwrightError:
        point = None  # it may be between two checkpoints, or on its way up: then it is cancelled
    if point is None:
        jobs.rest.cancel(current.id, STOP_S)
        point = jobs.resume_point()
    jobs.wait_running(jobs.submit(job, point.as_uri() if point else "", JOB_S), JOB_S)
    return time.monotonic() - began
