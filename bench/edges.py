"""What a hop costs in what acts: one question to the model and one POST to an agent: `python -m bench.edges`.

The calls of the comparison's workload, as the job's own deciders make them, go through the lanes and performers of the job to the
simulators, which run in a process of their own. Counted is the processor time of the background thread alone. Beside it: a plain asyncio
loop with the same client, which makes the same two calls and does nothing else.
"""

import argparse
import asyncio
import json
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

import orjson
from rich.console import Console

from bench.core import agent, model, team
from bench.machine import machine
from bench.peers.serving import Calls
from bench.processes import cores, pinned
from bench.session import simulators as simulators_up
from bench.workload import HOPS, is_last, lead
from loopwright.edges.agents import AgentPerformer
from loopwright.edges.background import Lane, background_loop
from loopwright.edges.router import RoutePerformer
from loopwright.step import Call, Performer
from loopwright.testing.simulation import Simulation

OUT = Path(".loopwright") / "bench" / "edges.json"
WORKFLOWS, AT_ONCE, RUNS = 200, 16, 7
Work = list[tuple[int, Call]]  # what one workflow calls, one after the other: 0 for the router's lane, 1 for the dispatcher's


def recorded(simulators: str, workflows: int) -> list[Work]:
    """What the deciders call in order to work so many leads, each lead's calls in their order."""
    settings, agents = team(simulators)
    found = []
    for number in range(workflows):
        simulation, work = Simulation(settings, agents, agent, model), Work()
        simulation.write(settings.topics.messages, orjson.dumps(lead(number)))
        while _stepped(simulation, work):
            pass
        found.append(work)
    return found


def _stepped(simulation: Simulation, work: Work) -> bool:
    found = False
    for at, loop in enumerate(simulation.loops):
        for place in simulation.unread(loop):
            simulation.deliver(loop, place)
            found = True
        for (key, call_id), call in list(loop.in_flight.items()):
            work.append((at, call))
            simulation.come_back(loop, key, call_id)
            found = True
    return found


class Lanes:
    """The lanes of router and dispatcher as the job has them, each with a pipe that wakes."""

    def __init__(self, simulators: str) -> None:
        self._pipes = [os.pipe(), os.pipe()]
        settings, _ = team(simulators)
        performers: list[Performer] = [RoutePerformer(settings), AgentPerformer(settings)]
        self._lanes = [Lane(one, 1000, writer, rings=True) for one, (_, writer) in zip(performers, self._pipes, strict=True)]

    def work(self, works: Iterable[Work], at_once: int) -> None:
        """Make all these calls, of so many workflows at a time. Raises RuntimeError for a call that went wrong."""
        waiting, under_way = deque(enumerate(works)), dict[str, deque[tuple[int, Call]]]()
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                number, work = waiting.popleft()
                under_way[str(number)] = deque(work)
                self._next(str(number), under_way)
            self._take(under_way)

    def _next(self, key: str, under_way: dict[str, deque[tuple[int, Call]]]) -> None:
        if under_way[key]:
            at, call = under_way[key].popleft()
            self._lanes[at].start(key, call)
        else:
            del under_way[key]

    def _take(self, under_way: dict[str, deque[tuple[int, Call]]]) -> None:
        rung, _, _ = select.select([reader for reader, _ in self._pipes], [], [])
        for (reader, _), lane in zip(self._pipes, self._lanes, strict=True):
            if reader not in rung:
                continue
            os.read(reader, 4096)
            for outcome in lane.take(1000):
                data = orjson.loads(outcome.data)
                if not (data.get("ok") or data.get("status") == 200):
                    raise RuntimeError(f"a call went wrong: {outcome.data.decode()}")
                self._next(outcome.key, under_way)

    def close(self) -> None:
        """End both."""
        for lane, (reader, _) in zip(self._lanes, self._pipes, strict=True):
            lane.close()
            os.close(reader)


def acted(simulators: str, works: Sequence[Work], at_once: int, runs: int) -> list[float]:
    """Processor time in ms that the background thread takes for a hop, in each of the runs."""
    background_loop()
    thread = next(one for one in threading.enumerate() if one.name == "loopwright-background")
    clock = time.pthread_getcpuclockid(thread.ident or 0)
    lanes = Lanes(simulators)
    try:
        return _timed(lambda: lanes.work(works, at_once), lambda: time.clock_gettime(clock), len(works), runs)
    finally:
        lanes.close()


def bare(simulators: str, workflows: int, at_once: int, runs: int) -> list[float]:
    """Processor time in ms that a plain loop takes for a hop, in each of the runs."""
    with asyncio.Runner() as runner:
        calls = Calls(simulators)
        runner.run(calls.open())
        found = _timed(lambda: runner.run(_worked(calls, workflows, at_once)), time.thread_time, workflows, runs)
        runner.run(calls.close())
    return found


async def _worked(calls: Calls, workflows: int, at_once: int) -> None:
    numbers = iter(range(workflows))

    async def one_after_the_other() -> None:
        for number in numbers:
            document, name = lead(number), ""
            while not is_last(name):
                name = await calls.decide(document)
                document |= await calls.call(name, document)

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))


def _timed(run: Callable[[], None], clock_s: Callable[[], float], workflows: int, runs: int) -> list[float]:
    run()  # connections are made, code is warm
    found = []
    for _ in range(runs):
        began = clock_s()
        run()
        found.append((clock_s() - began) * 1000 / (workflows * HOPS))
    return found


def measured(workflows: int, at_once: int, runs: int, folder: Path) -> dict[str, list[float]]:
    """Both, against simulators that are started for it; their log is put into `folder`."""
    ours, theirs = cores()
    with pinned(theirs), simulators_up(folder) as (at, _):
        works = recorded(at, workflows)
        with pinned(ours):
            return {"acted": acted(at, works, at_once, runs), "bare": bare(at, workflows, at_once, runs)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.edges", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workflows", type=int, default=WORKFLOWS, help=f"of {HOPS} hops in each run ({WORKFLOWS})")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"workflows that are under way at a time ({AT_ONCE})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"({RUNS})")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go as JSON ({OUT})")
    given = parser.parse_args(arguments)
    before, found = machine(), measured(given.workflows, given.at_once, given.runs, given.out.parent)
    said = {"before": before, "hops": given.workflows * HOPS, "at_once": given.at_once, "runs": found}
    said["cpu_ms_per_hop"] = {name: {"low": min(one), "median": median(one), "high": max(one)} for name, one in found.items()}
    given.out.write_text(json.dumps(said, indent=2) + "\n")
    ours, plain = found["acted"], found["bare"]
    text = (
        f"a hop: {min(ours):.3f} ms of processor time, median {median(ours):.3f}; a plain loop {min(plain):.3f}, median {median(plain):.3f}"
    )
    Console().print(f"{text}; {given.out}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
