"""How cost grows: `python -m bench.growth [--full | --levels N,...] [--only memory,cpu,parallel]`.

memory: bytes that an idle and a calling workflow take (TaskManager, state on the heap); then, with all those calls in flight, how long
checkpoints take and the longest time that nothing goes out meanwhile. cpu: processor time of a hop beside idle workflows (RocksDB).
parallel: hops per second with 1, 2 and 4 instances of each operator. A hop is one question to the model and one POST to an agent, which
answer at once; idle is a workflow whose agent has answered 202 and not called back, calling one whose agent has not answered.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.growth import team
from bench.growth.measures import beside_idle, in_memory, in_parallel
from bench.machine import machine
from loopwright.errors import LoopwrightError
from loopwright.testing.chaos.ending import INTERRUPTED, ended_by_signals

OUT = Path(".loopwright") / "bench" / "growth.json"
PARALLELISM = (1, 2, 4)
LEVELS, MOST_IDLE = (100, 10_000), 1_000_000
IDLE = 10_000
PARTS = ("memory", "cpu", "parallel")


def table(found: dict[str, Any]) -> Table:
    """The figures, as far as they were measured."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("figure", "value", "how"):
        shown.add_column(column, overflow="fold")
    for row in [*_memory_rows(found.get("memory", {})), *_cpu_rows(found.get("cpu", {})), *_parallel_rows(found.get("parallel", {}))]:
        shown.add_row(*row)
    return shown


def _memory_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not found:
        return []
    rows = [
        (
            f"memory of a workflow that is {name}",
            f"{found[name]['bytes'] / 1024:.1f} KB",
            f"{found[name]['heap'] / 1024:.1f} KB in the heap",
        )
        for name in ("idle", "calling")
    ]
    taken = found["checkpoints"]
    beside = f"{taken['in_flight']} calls in flight, {taken['took_ms']['count']} checkpoints"
    if not taken["took_ms"]["count"]:
        return [*rows, ("checkpoint", "none was completed", beside)]
    rows.append(("checkpoint: median, p99", f"{taken['took_ms']['median']:.0f}, {taken['took_ms']['p99']:.0f} ms", beside))
    for name, key in (("longest gap in a checkpoint", "gap_ms"), ("longest gap without one", "gap_without_ms")):
        rows.append((f"{name}: median, most", f"{taken[key].get('median', 0):.0f}, {taken[key].get('max', 0):.0f} ms", "100 hops/s beside"))
    return rows


def _cpu_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (
            f"CPU a hop beside {level} idle workflows",
            f"{one['cpu_ms_per_hop']['median']:.2f} ms",
            f"{found['ratio_to_the_first'][level]:.2f} x the first; {one['hops_per_s']['median']:.0f} hops/s; {_largest(one['parts_ms'])}",
        )
        for level, one in found.get("levels", {}).items()
    ]


def _largest(parts: dict[str, float]) -> str:
    named = sorted(parts.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name.partition(': ')[2]} {ms:.2f}" for name, ms in named)


def _parallel_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(f"hops/s with parallelism {number}", f"{one['hops_per_s']['median']:.0f}", one["limit"]) for number, one in found.items()]


def measure(given: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, Any]:
    """All that was asked for, each on a new platform. Raises LoopwrightError; then the state folder stays."""

    def on_a_new_one(work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        home = Path(tempfile.mkdtemp(prefix="loopwright-growth-"))
        tell(f"the state folder: {home}")
        done = work(home)
        shutil.rmtree(home, ignore_errors=True)
        return done

    levels = (*LEVELS, MOST_IDLE) if given.full else given.levels
    cores = os.cpu_count() or 1
    found: dict[str, Any] = {}
    if "memory" in given.only:
        found["memory"] = on_a_new_one(lambda home: in_memory(home, given.idle, given.in_flight, 3 * given.seconds, tell))
    if "cpu" in given.only:
        found["cpu"] = on_a_new_one(lambda home: beside_idle(home, levels, given.seconds, tell))
    for number in PARALLELISM if "parallel" in given.only else ():
        one = on_a_new_one(partial(in_parallel, parallelism=number, cores=cores, seconds=given.seconds, tell=tell))
        found.setdefault("parallel", {})[str(number)] = one
    return found


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(part) for part in text.split(",")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures with the machine they belong to."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--full", action="store_true", help=f"also beside {MOST_IDLE} idle workflows, which takes most of an hour")
    parser.add_argument("--levels", type=_numbers, default=LEVELS, help="idle workflows beside which a hop is measured (100,10000)")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--idle", type=int, default=IDLE, help=f"idle workflows for their memory ({IDLE})")
    parser.add_argument("--in-flight", type=int, default=team.MOST_CALLS, help=f"calls in flight, {team.MOST_CALLS} at most")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each span that is measured (20)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go as JSON ({OUT})")
    given = parser.parse_args(arguments)
    if unknown := set(given.only) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    screen, before = Console(), machine()
    try:
        with ended_by_signals():
            found = measure(given, lambda text: screen.print(text, style="dim", markup=False, highlight=False))
    except KeyboardInterrupt:
        return INTERRUPTED
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"before": before, "after": machine(), **found}, indent=2) + "\n")
    screen.print(table(found))
    screen.print(f"{before['cores']} cores, load average {before['load_average'][0]}; written to {given.out}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
