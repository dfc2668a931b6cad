"""The measurements: what a workflow takes, what a checkpoint holds up, what a hop costs beside idle workflows, what parallelism gives."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.growth import outside, team
from bench.growth.figures import Checkpoint, Memory, gaps_between, gaps_in, limit, memory, spread
from bench.growth.place import Place, always_open, every, place
from bench.parts import per_hop_ms
from loopwright.edges.platform import flink_config
from loopwright.edges.platform.flink_config import FlinkConfig

Tell = Callable[[str], None]
OPEN = 100  # workflows, where as many hops as possible are wanted
WARM_S, SETTLE_S = 20.0, 3.0
FORGOTTEN_S = 25.0
WINDOWS = 3
STEPS = 4
LIGHT_S = 0.05  # a workflow of five hops so often, while checkpoints are watched
CHECKPOINT_MS = 2000
SLOTS = 2
_SIZES = flink_config.Memory()
HEAP_MIB = _SIZES.framework_heap + _SIZES.task_heap
TOUCHED = (f"-Xms{HEAP_MIB}m", "-XX:+AlwaysPreTouch")


def warm_up(there: Place) -> None:
    """Have it worked until its code is compiled."""
    with there.feed(always_open(OPEN)):
        time.sleep(WARM_S)


def in_memory(home: Path, idle: int, in_flight: int, seconds: float, tell: Tell) -> dict[str, Any]:
    """Bytes per idle and per calling workflow; and, with that many calls in flight, checkpoints and the gaps that they leave."""
    with place(home, FlinkConfig(checkpoint_interval_ms=CHECKPOINT_MS, flags=TOUCHED)) as there:
        warm_up(there)
        time.sleep(FORGOTTEN_S)
        found: dict[str, Any] = {}
        for name, kind, most in (("idle", team.LATER, idle), ("calling", team.HOLD, in_flight)):
            points = _points(there, kind, most, tell)
            taken = memory(points)
            found[name] = {"bytes": round(taken.total), **{part: round(value) for part, value in asdict(taken).items()}, "points": points}
            tell(f"a workflow that is {name} takes {_kb(taken)}")
        found["checkpoints"] = _checkpoints(there, seconds, tell)
        found["checkpoints"]["in_flight"] = there.counts().get(outside.HOLDING, 0)
        return found


def _points(there: Place, kind: str, most: int, tell: Tell) -> list[tuple[int, float, float]]:
    points = []
    for step in range(STEPS + 1):
        there.bring(kind, most * step // STEPS)
        time.sleep(SETTLE_S)
        heap, rest = there.memory(HEAP_MIB)
        points.append((most * step // STEPS, heap, rest))
        tell(f"{points[-1][0]} {kind}: heap {heap / 1e6:.1f} MB, outside of it {rest / 1e6:.1f} MB")
    return points


def _kb(taken: Memory) -> str:
    return f"{taken.total / 1024:.1f} KB, {taken.heap / 1024:.1f} of them in the heap"


def _checkpoints(there: Place, seconds: float, tell: Tell) -> dict[str, Any]:
    found: dict[int, Checkpoint] = {}
    with there.feed(every(LIGHT_S)):
        time.sleep(SETTLE_S)
        there.arrivals()
        before = there.checkpoints()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(1.0)
            found |= there.checkpoints()
        arrivals = there.arrivals()
    watched = [found[number] for number in sorted(found) if number not in before]
    told = {
        "took_ms": spread([one.took_ms for one in watched]),
        "size_bytes": spread([one.size for one in watched]),
        "gap_ms": spread(gaps_in(arrivals, watched)),
        "gap_without_ms": spread(gaps_between(arrivals, watched)),
    }
    tell(f"checkpoints {told['took_ms']} ms; gaps {told['gap_ms']} ms, without a checkpoint {told['gap_without_ms']} ms")
    return told


def beside_idle(home: Path, levels: Sequence[int], seconds: float, tell: Tell) -> dict[str, Any]:
    """Processor time of a hop, in ms, beside so many idle workflows in RocksDB."""
    found: dict[str, Any] = {}
    with place(home, FlinkConfig(state_backend="rocksdb")) as there:
        warm_up(there)
        for level in levels:
            there.bring(team.LATER, level)
            time.sleep(FORGOTTEN_S)
            windows = _windows(there, seconds)
            found[str(level)] = _summed_up(windows)
            tell(f"beside {level} idle workflows: {found[str(level)]['cpu_ms_per_hop']} ms of the TaskManager's processor time a hop")
    first = found[str(levels[0])]["cpu_ms_per_hop"]["median"]
    ratios = {level: round(one["cpu_ms_per_hop"]["median"] / first, 3) for level, one in found.items()}
    return {"levels": found, "ratio_to_the_first": ratios}


def in_parallel(home: Path, parallelism: int, cores: int, seconds: float, tell: Tell) -> dict[str, Any]:
    """Hops per second with so many instances of each operator, and what limits them."""
    cluster = FlinkConfig(task_managers=-(-parallelism // SLOTS), slots=SLOTS, parallelism=parallelism)
    with place(home, cluster) as there:
        warm_up(there)
        windows = _windows(there, seconds)
    told = _summed_up(windows)
    told["limit"] = limit(told["cores"], cores)
    tell(f"parallelism {parallelism}: {told['hops_per_s']} hops/s; {told['limit']}")
    return told


def _windows(there: Place, seconds: float) -> list[dict[str, Any]]:
    """What happens in each of some spans of time while as much work is there as can be done."""
    found = []
    with there.feed(always_open(OPEN)):
        time.sleep(SETTLE_S)
        for _ in range(WINDOWS):
            cpu, threads, hops, began = there.cpu_s(), there.threads_s(), there.counts()[outside.HOPS], time.monotonic()
            time.sleep(seconds)
            after, done, took = there.cpu_s(), there.counts()[outside.HOPS] - hops, time.monotonic() - began
            parts = per_hop_ms(threads, there.threads_s(), done)
            found.append({"hops": done, "seconds": took, "cpu_s": {name: after[name] - cpu[name] for name in cpu}, "parts_ms": parts})
    return found


def _summed_up(windows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    managers = [sum(s for name, s in one["cpu_s"].items() if name.startswith("taskmanager")) for one in windows]
    total_s, total = sum(one["seconds"] for one in windows), max(sum(one["hops"] for one in windows), 1)
    parts = {name for one in windows for name in one["parts_ms"]}
    return {
        "parts_ms": {
            name: round(sum(one["parts_ms"].get(name, 0.0) * one["hops"] for one in windows) / total, 3) for name in sorted(parts)
        },
        "hops_per_s": spread([one["hops"] / one["seconds"] for one in windows]),
        "cpu_ms_per_hop": spread([1000 * cpu / max(one["hops"], 1) for cpu, one in zip(managers, windows, strict=True)]),
        "cores": {name: round(sum(one["cpu_s"][name] for one in windows) / total_s, 2) for name in windows[0]["cpu_s"]},
    }
