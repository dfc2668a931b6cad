"""How long no result comes when a TaskManager is killed: `make bench-recovery`, or `python -m bench.recovery [--repeats 5]`.

SIGKILL for the TaskManager that runs the job, with two hundred workflows in flight; then the time from the kill to the first result of a
workflow that had none. With one TaskManager, which has to be started again, and with a second one that stands by.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from bench.machine import machine
from loopwright.cli import show
from loopwright.cli.stack import at
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import status
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError, PlatformFailed
from loopwright.testing.chaos.ending import INTERRUPTED, ended_by_signals
from loopwright.testing.chaos.load import Load
from loopwright.testing.chaos.platform import kill, own_settings, tormented
from loopwright.testing.chaos.recovery import Spread, recovery_s, spread
from loopwright.testing.chaos.run import remove, verified

IN_FLIGHT, PAUSE_S = 220, 3.0
WELL_S, RESULT_S, DRAIN_S = 300.0, 300.0, 900.0
SETTLE_RESULTS = 100
CASES = {"one TaskManager": 1, "one TaskManager and one that stands by": 2}
OUT = Path(".loopwright") / "bench" / "recovery.json"


def host(stack: Stack) -> str:
    """The TaskManager that runs the job. Raises PlatformFailed where none does."""
    try:
        job = stack.rest.url + "/jobs/" + str(getattr(stack.jobs.current(), "id", ""))
        vertex = requests.get(job, timeout=10).json()["vertices"][0]["id"]
        managers = requests.get(f"{job}/vertices/{vertex}/taskmanagers", timeout=10).json()["taskmanagers"]
        return str(managers[0]["taskmanager-id"])
    except (requests.RequestException, LookupError, ValueError) as error:
        raise PlatformFailed("nobody knows which TaskManager runs the job", str(error), f"read {stack.layout.logs}") from error


def once(stack: Stack, load: Load) -> float:
    """One kill. Seconds to the first new result."""
    done = len(load.tally.ends)
    ready = wait_for(lambda: len(load.tally.ends) >= done + SETTLE_RESULTS and status(stack.config).well, WELL_S)
    full = wait_for(lambda: load.in_flight >= IN_FLIGHT, WELL_S)
    killed = kill(stack, host(stack), load.in_flight) if ready and full else None
    if killed is None:
        raise PlatformFailed("the platform is not well, so nothing can be measured", f"after {WELL_S:.0f} s", f"read {stack.layout.logs}")
    seconds = wait_for(lambda: recovery_s(killed, load.tally.told()), RESULT_S)
    if seconds is None:
        raise PlatformFailed("no result came after the kill", f"within {RESULT_S:.0f} s", f"read {stack.layout.logs}")
    return seconds


def measure(home: Path, task_managers: int, repeats: int, screen: Console) -> list[float]:
    """`repeats` kills on a platform with so many TaskManagers; each must leave the log whole. Raises PlatformFailed."""
    settings = own_settings(home)
    stack = Stack(tormented(settings, PAUSE_S, FlinkConfig(task_managers=task_managers)))
    try:
        there = at(settings, stack.up())
        load = Load(there, IN_FLIGHT)
        load.start()
        try:
            found = []
            for number in range(1, repeats + 1):
                found.append(once(stack, load))
                screen.print(f"{task_managers} TaskManagers, kill {number}: {found[-1]:.1f} s")
            load.stop_sending()
            whole = wait_for(lambda: not load.tally.left(), DRAIN_S) and verified(there).holds
        finally:
            load.close()
    finally:
        Stack(stack.config).down()
    if not whole:
        raise PlatformFailed("workflows were lost, or worked twice", f"`loopwright verify` on {home}", "this is a defect: report it")
    return found


def table(found: dict[str, Spread | None]) -> Table:
    """The figures."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("SIGKILL of the TaskManager", "kills", "seconds to the first new result: min", "median", "max"):
        shown.add_column(column)
    for name, one in found.items():
        if one is not None:
            shown.add_row(name, str(one.count), f"{one.min_s:.1f}", f"{one.median_s:.1f}", f"{one.max_s:.1f}")
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures with the machine they belong to."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="kills in each case (5)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go as JSON ({OUT})")
    given = parser.parse_args(arguments)
    screen, before, seconds = show.console(), machine(), dict[str, list[float]]()
    for name, task_managers in CASES.items():
        home = Path(tempfile.mkdtemp(prefix="loopwright-bench-"))
        try:
            with ended_by_signals():
                seconds[name] = measure(home, task_managers, given.repeats, screen)
        except KeyboardInterrupt:
            return INTERRUPTED
        except LoopwrightError as error:
            sys.stderr.write(f"{error}\n  the state folder, with all logs: {home}\n")
            return error.exit_code
        remove(home)
    spreads = {name: spread(one) for name, one in seconds.items()}
    said: dict[str, Any] = {"before": before, "after": machine(), "in_flight": IN_FLIGHT, "seconds": seconds}
    said["spread"] = {name: asdict(one) if one else None for name, one in spreads.items()}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(said, indent=2) + "\n")
    screen.print(table(spreads))
    screen.print(f"{before['cores']} cores, load average {before['load_average'][0]}; written to {given.out}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
