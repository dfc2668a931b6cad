"""One turn of one system under test: started afresh, measured in both ways, ended."""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench import measure, parts
from bench.install import python_of
from bench.load import START_S, Phase, Sent, Target, Unusable, closed_loop, open_loop
from bench.processes import Child, NotReady, cpu_s, descendants, end, last_words, memory_mib, tree
from bench.workload import LOGNORMAL, ZERO
from loopwright.edges.platform.ports import HOST, Ports

ROOT = Path(__file__).resolve().parents[1]
OUT = Path(".loopwright") / "bench"
READY_S, STOP_S, SIMULATORS_S = 300.0, 60.0, 15.0
CACHE = "LOOPWRIGHT_CACHE"
PART = "cpu_ms_per_hop of "
RESTING = 0.02  # compilers that take less than this share of a core have come to what is hot
SECOND_PHASE = 1_000_000  # its first lead: no lead comes twice


@dataclass(frozen=True)
class Course:
    """How a turn goes: seconds of each phase, workflows open in the one, workflows per second in the other; how long the last may take.

    Each phase warms up until the system's compilers rest, the first also until it gets hardly faster, within its bounds.
    """

    throughput_warm_s: float = 40.0
    throughput_longest_warm_s: float = 150.0  # a JVM that has one core compiles for a minute and a half, and looks steady long before
    throughput_s: float = 10.0
    latency_warm_s: float = 10.0
    latency_longest_warm_s: float = 60.0
    latency_s: float = 20.0
    open_workflows: int = 100
    rate: float = 20.0
    drain_s: float = 10.0


QUICK = Course(
    throughput_warm_s=6, throughput_longest_warm_s=18, throughput_s=6, latency_warm_s=3, latency_longest_warm_s=3, latency_s=12, drain_s=8
)


@dataclass
class Turn:
    """What one turn of a system gave. `error` says why there is nothing; `figures` by name, see `_throughput` and `_latency`."""

    peer: str
    repeat: int
    about: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    distribution_ms: dict[str, float] = field(default_factory=dict)
    load_average: float = 0.0
    cores: list[int] = field(default_factory=list)  # where the system really ran
    error: str = ""
    log: str = ""


@contextmanager
def simulators(folder: Path) -> Iterator[tuple[str, Child]]:
    """The simulators' address and process, up for the duration of a run; they run where this process does."""
    port = Ports(folder / "ports.json").settle("simulators", in_use_by_us=False)
    command = [sys.executable, "-m", "bench.simulators", "--port", str(port)]
    child = Child(command, folder / "simulators.log", None, _environment())
    try:
        child.wait_ready(SIMULATORS_S)
        yield f"http://{HOST}:{port}", child
    finally:
        child.stop(STOP_S)


def turn(peer: str, repeat: int, course: Course, address: str, beside: Child, out: Path, core: int | None) -> Turn:
    """Start the system on this core, measure it, end it. What goes wrong stands in `error`; nothing of the system is left running."""
    found = Turn(peer, repeat, load_average=os.getloadavg()[0], log=str(out / f"{peer}-{repeat}.log"))
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    port = Ports(home / "ports.json").settle("peer", in_use_by_us=False)
    command = [python_of(peer), "-m", f"bench.peers.{peer}", "serve", "--simulators", address, "--port", str(port), "--home", str(home)]
    began, child = time.monotonic(), Child(command, Path(found.log), core, _environment())
    try:
        child.wait_ready(READY_S)
        found.cores = psutil.Process(child.pid).cpu_affinity() or []
        found.figures["ready_s"] = time.monotonic() - began
        asyncio.run(_measured(found, course, f"http://{HOST}:{port}", address, beside))
    except (NotReady, Unusable) as error:
        found.error = str(error)
    except (aiohttp.ClientError, TimeoutError) as error:
        said = f"it gave no answer within {START_S:.0f} s" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
        found.error = f"{said}; {last_words(Path(found.log).read_text(errors='replace').splitlines())}"
    finally:
        ended = child.stop(STOP_S)
        found.figures["left_running"] = end(lambda: descendants([beside.pid])) + (not ended)
        shutil.rmtree(home, ignore_errors=True)
    return found


def _environment() -> dict[str, str]:
    """What all processes are started with: this repository can be imported, output comes at once, and nobody's settings of Loopwright."""
    kept = {name: value for name, value in os.environ.items() if name == CACHE or not name.startswith("LOOPWRIGHT_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


async def _measured(found: Turn, course: Course, peer: str, address: str, beside: Child) -> None:
    async with Target(peer, address) as target:
        found.about = await target.about()
        await _throughput(found, course, target, beside)
        await _latency(found, course, target, beside)


async def _throughput(found: Turn, course: Course, target: Target, beside: Child) -> None:
    """With answers at once: hops per second, CPU per hop, how busy the core of the system and the simulators were."""
    meter = _Meter(beside)
    await target.reset(ZERO, found.repeat)
    phase = Phase(course.throughput_warm_s, course.throughput_s, meter.read, course.throughput_longest_warm_s, meter.compilers_rest)
    began = time.monotonic_ns()
    sent = await closed_loop(target, phase, course.open_workflows, first=1)
    found.figures["warmed_s"] = (sent.since - began) / 1e9
    await target.all_ended(sent.taken, course.drain_s)
    log = await target.log()
    rate = measure.hops_per_s(log, sent.since, sent.until)
    figures = {"hops_per_s": rate, **meter.per_hop(rate * course.throughput_s, course.throughput_s)}
    figures |= meter.of_parts(rate * course.throughput_s)
    figures |= {"refused_starts": sent.refused, "refused_requests": measure.refused(log), "memory_mib": memory_mib(meter.processes())}
    found.figures.update(figures)
    await _all_done(found, target, sent, course)


async def _latency(found: Turn, course: Course, target: Target, beside: Child) -> None:
    """With answers that take their time: added ms of each hop; figures of this phase begin with `latency_`."""
    meter, before = _Meter(beside), await target.done()
    await target.reset(LOGNORMAL, found.repeat)
    phase = Phase(course.latency_warm_s, course.latency_s, meter.read, course.latency_longest_warm_s, meter.compilers_rest)
    began = time.monotonic_ns()
    sent = await open_loop(target, phase, course.rate, SECOND_PHASE, found.repeat)
    await target.all_ended(sent.taken, course.drain_s)
    log = await target.log()
    got = measure.latencies(log, sent.due, sent.since, sent.until)
    hops = measure.hops_per_s(log, sent.since, sent.until) * course.latency_s
    found.figures["latency_warmed_s"] = (sent.since - began) / 1e9
    found.distribution_ms = measure.quantiles(got.added_ms)
    figures = {f"added_p{percent}_ms": measure.percentile(got.added_ms, percent) for percent in (50, 90, 99)}
    busy = {**meter.per_hop(hops, course.latency_s), **meter.of_parts(hops)}
    figures |= {f"latency_{name}": value for name, value in busy.items()}
    figures |= {"latency_workflows": got.workflows, "latency_unfinished": got.unfinished, "latency_repeated": got.repeated}
    figures |= {"model_calls": got.model_calls, "latency_memory_mib": memory_mib(meter.processes())}
    figures |= {"latency_refused_starts": sent.refused, "latency_refused_requests": measure.refused(log)}
    found.figures.update(figures)
    await _all_done(found, target, sent, course, before)


async def _all_done(found: Turn, target: Target, sent: Sent, course: Course, before: int = 0) -> None:
    """Wait until the system itself says that all that it took is done, and note what is not."""
    done = await target.all_done(before + sent.taken, course.drain_s) - before
    found.figures["not_done"] = found.figures.get("not_done", 0) + sent.taken - done


class _Meter:
    """CPU of the system under test and of the simulators, read when the window opens and when it closes."""

    def __init__(self, beside: Child) -> None:
        self._beside = beside
        self._system: list[float] = []
        self._parts: list[dict[str, float]] = []
        self._simulators: list[float] = []
        self._compiling = (time.monotonic(), 0.0)

    def processes(self) -> Any:
        """The processes of the system under test."""
        return descendants([self._beside.pid])

    def read(self) -> None:
        """Take a reading."""
        processes = self.processes()
        self._system.append(cpu_s(processes))
        self._parts.append(parts.used_s(processes))
        self._simulators.append(cpu_s(tree(self._beside.pid)))

    def compilers_rest(self) -> bool:
        """Whether the system's JVMs, where it has any, have compiled hardly anything since this was asked last."""
        since, before = self._compiling
        self._compiling = (time.monotonic(), parts.compiling_s(self.processes()))
        return self._compiling[1] - before < RESTING * (self._compiling[0] - since)

    def of_parts(self, hops: float) -> dict[str, float]:
        """CPU ms per hop of each part of the system."""
        return {PART + name: ms for name, ms in parts.per_hop_ms(self._parts[0], self._parts[-1], hops).items()}

    def per_hop(self, hops: float, seconds: float) -> dict[str, float]:
        """CPU ms per hop; cores that the system and the simulators kept busy."""
        used, beside = self._system[-1] - self._system[0], self._simulators[-1] - self._simulators[0]
        per_hop = {"cpu_ms_per_hop": used * 1000 / hops} if hops else {}
        return {**per_hop, "busy_cores": used / seconds, "simulators_busy_cores": beside / seconds}
