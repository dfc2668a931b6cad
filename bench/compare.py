"""Loopwright beside what else one could take, on this machine, in one run: `make bench`, `make bench-quick`.

    python -m bench.compare [--quick] [--peers a,b] [--repeats 5]
    python -m bench.compare --check        # asyncio loop and Loopwright alone; exit code 1 where Loopwright got slower (bench/check.py)

Every system is given the same leads (bench/workload.py) by the same driver, on a core of its own; simulators and driver have another. The
systems take turns, each started afresh for each repeat, and each works in two ways, one after the other:

    throughput   model and agents answer at once; 100 workflows are open at all times
    latency      model and agents take 200 ms (median); workflows arrive at 20 per second by a Poisson process, which is 100 hops per second

What is measured, and how: bench/measure.py. Raw results, with machine, versions and load, go to .loopwright/bench/.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench import check, report
from bench.install import NotInstalled, install, peers
from bench.machine import machine
from bench.peers import ABSENT
from bench.processes import NotReady, adopt_orphans, cores, pinned
from bench.report import CEILING, PRODUCT
from bench.session import OUT, QUICK, Course, Turn, simulators, turn
from loopwright.cli import show
from loopwright.testing.chaos.ending import INTERRUPTED, ended_by_signals

REPEATS, CHECK_REPEATS = 5, 3


def rounds(names: Sequence[str], repeats: int) -> list[tuple[int, str]]:
    """Who is when: every system once in each repeat, and each repeat begins with another one."""
    return [(repeat, names[(repeat - 1 + n) % len(names)]) for repeat in range(1, repeats + 1) for n in range(len(names))]


def able(names: Sequence[str], screen: Console) -> tuple[list[str], dict[str, str]]:
    """Install what the systems need; those that can be run, and why the others cannot."""
    run, absent = list[str](), dict[str, str]()
    for name in names:
        try:
            if install(name):
                screen.print(f"{name}: installed")
            run.append(name)
        except NotInstalled as error:
            absent[name] = str(error)
    return run, absent


def left_out(names: Sequence[str]) -> dict[str, str]:
    """The systems that a run of these `names` says nothing of, each with the reason."""
    return {name: "left out of this run" for name in peers() if name not in names} | ABSENT


def compared(names: Sequence[str], repeats: int, course: Course, core: int | None, screen: Console) -> list[Turn]:
    """All turns, one after the other, with the systems on this core. A system that did not come up is not tried again."""
    turns, broken = list[Turn](), set[str]()
    with simulators(OUT / "logs") as (address, beside):
        for repeat, name in rounds(names, repeats):
            if name in broken:
                continue
            got = turn(name, repeat, course, address, beside, OUT / "logs", core)
            turns.append(got)
            if "added_p50_ms" not in got.figures:
                broken.add(name)
            screen.print(f"{name}, repeat {repeat}: {got.error or said(got)}", markup=False)
    return turns


def said(got: Turn) -> str:
    """A turn in one line."""
    figures = got.figures
    return (
        f"added p50 {figures['added_p50_ms']:.1f} ms, p99 {figures['added_p99_ms']:.1f} ms; {figures['hops_per_s']:.0f} hops/s, "
        f"{figures.get('cpu_ms_per_hop', 0):.2f} ms CPU each; simulators {figures['simulators_busy_cores']:.0%} busy; load "
        f"{got.load_average:.1f}"
    )


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short repeat of each: 10 minutes or less")
    parser.add_argument("--peers", help="names, with commas between; all, where not given")
    parser.add_argument("--repeats", type=int, help=f"({REPEATS}; 1 with --quick, {CHECK_REPEATS} with --check)")
    parser.add_argument("--check", action="store_true", help="compare with the baseline; exit code 1 where a ratio got worse")
    parser.add_argument("--write-baseline", action="store_true", help="make this run's ratios the baseline")
    parser.add_argument("--baseline", type=Path, default=check.BASELINE, help="the file that --check reads and --write-baseline writes")
    parser.add_argument("--out", type=Path, default=OUT / "compare.json", help="where the raw results go")
    given = parser.parse_args(arguments)
    both = ",".join((CEILING, PRODUCT))
    given.names = (given.peers or (both if given.check or given.write_baseline else ",".join(peers()))).split(",")
    unknown = sorted(set(given.names) - set(peers()))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(peers())}")
    if given.check and not given.baseline.is_file():
        parser.error(f"there is no {given.baseline}; --write-baseline makes it of a run that is as it should be")
    given.repeats = given.repeats or (CHECK_REPEATS if given.check or given.write_baseline else 1 if given.quick else REPEATS)
    return given


def checked(turns: Sequence[Turn], given: argparse.Namespace, screen: Console) -> int:
    """Compare the ratios with the baseline, or write them as such."""
    found = report.spreads(turns)
    now = check.ratios(found.get(PRODUCT, {}), found.get(CEILING, {}))
    if given.write_baseline:
        check.write(now, machine(), given.baseline)
        screen.print(f"written to {given.baseline}: {now}", markup=False)
    worse = check.worsened(now, check.read(given.baseline)) if given.check else []
    for line in worse:
        screen.print(f"slower: {line}", markup=False)
    if given.check and not worse:
        screen.print(f"as fast as the baseline: {now}", markup=False)
    return 1 if worse else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the raw results."""
    given, screen, before, began = options(arguments), show.console(), machine(), time.monotonic()
    course = QUICK if given.quick else Course()
    ours, beside = cores()
    adopt_orphans()
    try:
        with ended_by_signals(), pinned(beside):
            names, absent = able(given.names, screen)
            turns = compared(names, given.repeats, course, ours, screen) if names else []
    except KeyboardInterrupt:
        return INTERRUPTED
    except NotReady as error:
        sys.stderr.write(f"the simulators do not come up: {error}\n")
        return 3
    absent |= {} if given.check or given.write_baseline else left_out(given.names)
    pins = {"system": ours, "simulators and driver": beside}
    about = {"before": before, "after": machine(), "course": asdict(course), "repeats": given.repeats, "cores": pins}
    report.written(turns, absent, about, given.out)
    screen.print(report.table(turns, absent))
    screen.print(
        f"{before['cores']} cores, load average {before['load_average'][0]} before; {(time.monotonic() - began) / 60:.0f} min; {given.out}",
        markup=False,
    )
    return checked(turns, given, screen)


if __name__ == "__main__":
    sys.exit(main())
