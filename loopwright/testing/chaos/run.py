"""A run: the platform comes up, the load comes up, parts are killed by schedule, everything is brought to its end, and judged."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loopwright.cli import logs
from loopwright.cli.stack import at
from loopwright.cli.verify import PATIENCE_MS, SKEW_MS
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.edges.platform.config import Observer
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError, PlatformFailed
from loopwright.history.findings import Clock
from loopwright.history.invariants import Evidence, Report
from loopwright.settings import Settings
from loopwright.testing.chaos.effects import witnessed
from loopwright.testing.chaos.load import Load
from loopwright.testing.chaos.platform import kill, own_settings, parts_of, tormented
from loopwright.testing.chaos.recovery import Killed
from loopwright.testing.chaos.report import ChaosReport, report_of
from loopwright.testing.chaos.schedule import schedule
from loopwright.testing.chaos.team import SDR, Team

FIRST_S, FULL_S, READ_S = 300.0, 60.0, 120.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class ChaosOptions:
    """`seconds` of kills with about `gap_s` between two, `in_flight` workflows of `team` at each, agents that take `pause_s` for a call.

    `process`: Python runs in worker processes, which are killed as well. `drain_s`: how long the last workflows may take at the end.
    """

    seed: int
    seconds: float = 600.0
    gap_s: float = 15.0
    in_flight: int = 220
    pause_s: float = 3.0
    drain_s: float = 600.0
    process: bool = False
    team: Team = SDR


def chaos(home: Path, options: ChaosOptions, tell: Tell, observer: Observer) -> ChaosReport:
    """Run it in the state folder `home`, which must be a new one; nothing is left running. Raises what the platform raises."""
    settings = own_settings(home, options.team)
    cluster = FlinkConfig(execution_mode="process" if options.process else "thread")
    stack = Stack(tormented(settings, options.pause_s, cluster, team=options.team), observer)
    try:
        there = at(settings, stack.up())
        return _tormented(stack, there, options, tell)
    finally:
        Stack(stack.config).down()


def _tormented(stack: Stack, settings: Settings, options: ChaosOptions, tell: Tell) -> ChaosReport:
    load = Load(settings, options.in_flight, options.team)
    load.start()
    try:
        if wait_for(lambda: bool(load.tally.ends), FIRST_S) is None:
            raise PlatformFailed("no workflow came to its end", f"nothing within {FIRST_S:.0f} s", f"read {stack.layout.logs}")
        tell(f"{load.in_flight} workflows are in flight; seed {options.seed}")
        kills, skipped = _torment(stack, load, options, tell)
        load.stop_sending()
        tell(f"no more kills; {load.in_flight} workflows are brought to their end")
        wait_for(lambda: not load.tally.left(), options.drain_s)
    finally:
        load.close()
    tell("reading the logs")
    done = witnessed(stack.layout.home, options.team, load.tally)
    return report_of(options.seed, options.seconds, kills, skipped, load.tally, done, verified(settings))


def _torment(stack: Stack, load: Load, options: ChaosOptions, tell: Tell) -> tuple[list[Killed], int]:
    """Kill by schedule; what was killed, and how often a part was found dead already. A kill waits until the load is full."""
    parts = parts_of(options.team, options.process)
    began, kills, skipped = time.monotonic(), list[Killed](), 0
    for planned in schedule(options.seed, options.seconds, parts, options.gap_s):
        time.sleep(max(0.0, began + planned.at_s - time.monotonic()))
        wait_for(lambda: load.in_flight >= options.in_flight, FULL_S)
        killed = kill(stack, planned.part, load.in_flight)
        if killed is None:
            skipped += 1
            tell(f"{time.monotonic() - began:6.1f} s  {planned.part} is down already")
            continue
        kills.append(killed)
        tell(f"{time.monotonic() - began:6.1f} s  {planned.part} killed, {killed.in_flight} in flight, {len(load.tally.ends)} done")
    return kills, skipped


def verified(settings: Settings) -> Report:
    """What `loopwright verify` finds in the whole log. The broker may be on its way up: it is asked until it answers."""
    last = LoopwrightError("Kafka gave no answer")

    def attempt() -> Report | None:
        nonlocal last
        evidence = Evidence(settings.topics, settings.limits, settings.team)
        try:
            evidence.extend(kafka.read_all(settings, logs.topics_of(settings)))
        except LoopwrightError as error:
            last = error
            return None
        return evidence.report(Clock(now_ms(), SKEW_MS, PATIENCE_MS))

    found = wait_for(attempt, READ_S)
    if found is None:
        raise last
    return found


def remove(home: Path) -> None:
    """Delete a state folder whose run held; nothing runs in it any more."""
    shutil.rmtree(home, ignore_errors=True)
