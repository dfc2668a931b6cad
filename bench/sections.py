"""The figures of docs/performance.md as Markdown, each made of a raw result: what stands between the page's markers. Pure.

A function here takes the raw result of one measurement (bench/compare.py, bench/growth, bench/recovery.py, bench/model_calls.py) and gives
its sections by name; a part that was not measured gives none.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.measure import Spread
from bench.model_calls import CONTRACTS, EVERY_MESSAGE
from bench.report import CEILING, COLUMNS, PRODUCT, remark, spreads
from bench.session import PART, Turn
from bench.workload import HOPS

Raw = Mapping[str, Any]
LATENCY_PLOT, THROUGHPUT_PLOT, IDLE_PLOT = "performance-latency.svg", "performance-throughput.svg", "performance-idle.svg"
PLOTS = (
    f"![share of the hops whose added latency is at most so many milliseconds, for each system]({LATENCY_PLOT})\n\n"
    f"![hops per second of each system]({THROUGHPUT_PLOT})"
)
ENOUGH_REPEATS = 5
LONGEST_REMARK = 200
LEAST_MS = 0.05  # of a hop: a part that takes less everywhere is not shown
CLEARER = {"added_p99_ms": "added latency p99, ms", "latency_cpu_ms_per_hop": "CPU ms/hop at 100 hops/s"}
SHOWN = {
    PRODUCT: "Loopwright",
    CEILING: "asyncio loop",
    "async_datastream": "AsyncDataStream",
    "ml_predict": "ML_PREDICT",
    "restate_peer": "Restate",
    "dbos_peer": "DBOS",
    "langgraph_peer": "LangGraph",
    "temporal_peer": "Temporal",
    "flink_agents": "Flink Agents",
}
BESIDE = {  # figure -> what it is called, unit, decimals, whether more is better
    "added_p50_ms": ("added latency of a hop, p50", " ms", 1, False),
    "added_p99_ms": ("added latency of a hop, p99", " ms", 1, False),
    "hops_per_s": ("hops per second", "", 0, True),
    "cpu_ms_per_hop": ("CPU per hop", " ms", 2, False),
}
_PATH = re.compile(r"(?<![\w/:.])/(?:[\w.@+-]+/)+")


def shown(name: str) -> str:
    """What a system is called on the page."""
    return SHOWN.get(name, name)


def turns_of(raw: Raw) -> list[Turn]:
    """The turns of a comparison; figures that are no numbers are left out."""
    kept = [{**one, "figures": {name: value for name, value in one["figures"].items() if value is not None}} for one in raw["turns"]]
    return [Turn(**one) for one in kept]


def durable(turns: Sequence[Turn], name: str) -> bool | None:
    """Whether a system says that it is durable; None where it never came so far as to say it."""
    return next((turn.about["durable"] for turn in turns if turn.peer == name and "durable" in turn.about), None)


def ordered(turns: Sequence[Turn]) -> list[str]:
    """The systems as the page shows them: Loopwright, the durable ones by their median latency, the others, those without figures."""
    found = spreads(turns)

    def place(name: str) -> tuple[int, float]:
        latency = found[name].get("added_p50_ms")
        if latency is None:
            return 3, 0.0
        return (0 if name == PRODUCT else 1 if durable(turns, name) else 2), latency.median

    return sorted(found, key=place)


def others(turns: Sequence[Turn]) -> list[str]:
    """The durable systems beside Loopwright that there are figures of."""
    return [name for name, figures in spreads(turns).items() if name != PRODUCT and durable(turns, name) and "added_p50_ms" in figures]


def comparison(raw: Raw) -> dict[str, str]:
    """What `make bench` leaves."""
    turns = turns_of(raw)
    return {
        "comparison": "\n\n".join(part for part in (PLOTS, _table(turns, raw["not_run"]), _best(turns)) if part),
        "run": _run(raw, turns),
        "systems": _systems(turns, raw["not_run"]),
        "capacity": _capacity(turns),
    }


def _table(turns: Sequence[Turn], absent: Mapping[str, str]) -> str:
    found, rows = spreads(turns), list[list[str]]()
    for name in ordered(turns):
        mine = [turn for turn in turns if turn.peer == name]
        cells = [spread_cell(found[name].get(figure), decimals) for figure, (_, decimals) in COLUMNS.items()]
        said = {True: "yes", False: "no", None: ""}[durable(turns, name)]
        rows.append([f"**{shown(name)}**" if name == PRODUCT else shown(name), said, *cells, remark(mine)])
    rows += [[shown(name), "", *["-"] * len(COLUMNS), f"not run: {why}"] for name, why in absent.items()]
    headings = [CLEARER.get(figure, heading) for figure, (heading, _) in COLUMNS.items()]
    return table(["system", "durable", *headings, "remarks"], rows)


def _best(turns: Sequence[Turn]) -> str:
    found, rows = spreads(turns), list[list[str]]()
    for figure, (called, unit, decimals, more_is_better) in BESIDE.items():
        ours, theirs = found.get(PRODUCT, {}).get(figure), {n: found[n][figure].median for n in others(turns) if figure in found[n]}
        if ours is None or not theirs:
            continue
        best = (max if more_is_better else min)(theirs, key=lambda name: theirs[name])
        ratio = f"{ours.median / theirs[best]:.2f}" if theirs[best] else "-"
        rows.append([called, f"{ours.median:.{decimals}f}{unit}", f"{theirs[best]:.{decimals}f}{unit} ({shown(best)})", ratio])
    return table(["median of the repeats", "Loopwright", "the best other durable system", "ratio"], rows) if rows else ""


def _run(raw: Raw, turns: Sequence[Turn]) -> str:
    course, repeats, pins = raw["course"], raw["repeats"], raw["cores"]
    busy = [turn.figures["simulators_busy_cores"] for turn in turns if "simulators_busy_cores" in turn.figures]
    loads = [turn.load_average for turn in turns]
    began = f" When a turn began it was {min(loads):.1f} to {max(loads):.1f}." if loads else ""
    lines = [
        f"- {machine_line(raw['before'])}; after it {raw['after']['load_average'][0]}.{began}",
        f"- {repeats} repeat{'' if repeats == 1 else 's'} of {len(spreads(turns))} systems.",
        f"- Hops per second: {course['throughput_s']:g} s after {course['throughput_warm_s']:g} to "
        f"{course['throughput_longest_warm_s']:g} s of warm-up. Latency: "
        f"{course['latency_s']:g} s after {course['latency_warm_s']:g} to {course['latency_longest_warm_s']:g} s, "
        f"{course['rate']:g} workflows per second.",
        f"- {_cores(pins, turns)}",
    ]
    lines += [f"- The simulators kept at most {max(busy):.0%} of their core busy while hops per second were measured."] if busy else []
    few = f"- This was a short run: with fewer than {ENOUGH_REPEATS} repeats the spread says little."
    return "\n".join([*lines, few] if repeats < ENOUGH_REPEATS else lines)


def _cores(pins: Raw, turns: Sequence[Turn]) -> str:
    system = pins["system"]
    if system is None:
        return "Nothing was pinned to a core of its own: system, simulators and driver shared what there is."
    said = f"The system under test ran on core {system}, simulators and driver on core {pins['simulators and driver']}."
    strayed = sorted({shown(turn.peer) for turn in turns if turn.cores and turn.cores != [system]})
    return f"{said} Not so pinned: {', '.join(strayed)}." if strayed else said


def _systems(turns: Sequence[Turn], absent: Mapping[str, str]) -> str:
    lines = []
    for name in ordered(turns):
        about = next((turn.about for turn in turns if turn.peer == name and turn.about), None)
        if about is None:
            lines.append(f"- **{shown(name)}**: it did not come up.")
            continue
        versions = ", ".join(f"{part} {version}" for part, version in about["versions"].items())
        lines.append(f"- **{shown(name)}**: {about['how']}. Versions: {versions}.")
    return "\n".join([*lines, *(f"- **{shown(name)}**: not run: {said(why)}." for name, why in absent.items())])


def _capacity(turns: Sequence[Turn]) -> str:
    figures = spreads(turns).get(PRODUCT, {})
    if "hops_per_s" not in figures:
        return "Loopwright was not measured in this run."
    hops, rows = figures["hops_per_s"], list[list[str]]()
    per_workflow = Spread(hops.low / HOPS, hops.median / HOPS, hops.high / HOPS)
    rows.append(["hops per second", spread_cell(hops, 0)])
    rows.append([f"workflows of {HOPS} hops per second", spread_cell(per_workflow, 0)])
    named = {
        "cpu_ms_per_hop": ("CPU per hop then, ms", 2),
        "latency_cpu_ms_per_hop": ("CPU per hop at 100 hops/s, ms", 2),
        "latency_busy_cores": ("share of the core that is busy at 100 hops/s", 2),
        "memory_mib": ("memory of all its processes, Kafka and JobManager among them, MiB", 0),
    }
    rows += [[text, spread_cell(figures[name], decimals)] for name, (text, decimals) in named.items() if name in figures]
    return table(["Loopwright", "median (least to greatest)"], rows) + _parts(figures)


def _parts(figures: Mapping[str, Spread]) -> str:
    """Where the processor time of a hop goes, the largest part first: at full load, and at 100 hops per second."""
    found = {name.removeprefix(PART): spread for name, spread in figures.items() if name.startswith(PART)}
    names = sorted(found, key=lambda name: -found[name].median)
    rows = [[name, spread_cell(found[name], 2), spread_cell(figures.get(f"latency_{PART}{name}"), 2)] for name in names]
    return "\n\nOf the CPU per hop:\n\n" + table(["part", "ms at full load", "ms at 100 hops/s"], rows) if rows else ""


def core(raw: Raw) -> dict[str, str]:
    """What `python -m bench.core` leaves."""
    found = Spread(**raw["cpu_ms_per_hop"])
    text = f"Parsing, folding, deciding and judging alone, on this machine: {spread_cell(found, 2)} ms of processor time a hop"
    return {"core": f"{text}; {len(raw['runs'])} runs of {raw['hops']} hops. {machine_line(raw['before'])}."}


def edges(raw: Raw) -> dict[str, str]:
    """What `python -m bench.edges` leaves."""
    acted, bare = (spread_cell(Spread(**raw["cpu_ms_per_hop"][name]), 2) for name in ("acted", "bare"))
    text = f"Both calls of a hop, as the job makes them: {acted} ms of processor time; a plain asyncio loop that makes the same: {bare} ms"
    return {"edges": f"{text}; {raw['hops']} hops in each run, {raw['at_once']} workflows at once. {machine_line(raw['before'])}."}


def growth(raw: Raw) -> dict[str, str]:
    """What `python -m bench.growth` leaves, as far as it was asked for."""
    makers: dict[str, Callable[[Raw], dict[str, str]]] = {"memory": _memory, "cpu": _idle, "parallel": _parallel}
    found: dict[str, str] = {}
    for part, make in makers.items():
        if raw.get(part):
            found |= {name: f"{text}\n\n{machine_line(raw['before'])}." for name, text in make(raw[part]).items()}
    return found


def _memory(raw: Raw) -> dict[str, str]:
    rows = [
        [name, f"{raw[name]['points'][-1][0]}", f"{raw[name]['bytes'] / 1024:.1f} KB", f"{raw[name]['heap'] / 1024:.1f} KB"]
        for name in ("idle", "calling")
    ]
    found = {"memory": table(["a workflow that is", "up to", "takes", "of it in the JVM's heap"], rows)}
    taken = raw["checkpoints"]
    if not taken["took_ms"]["count"]:
        return {**found, "checkpoints": f"With {taken['in_flight']} calls in flight no checkpoint was completed."}
    named = {
        "took_ms": "a checkpoint takes",
        "gap_ms": "longest gap in the output while one is taken",
        "gap_without_ms": "the same without one",
    }
    rows = [
        [text, *(f"{taken[name][part]:.0f} ms" for part in ("median", "p99", "max"))]
        for name, text in named.items()
        if taken[name]["count"]
    ]
    beside = f"With {taken['in_flight']} calls in flight and 100 hops per second beside them, {taken['took_ms']['count']} checkpoints."
    return {**found, "checkpoints": f"{beside}\n\n{table(['', 'median', 'p99', 'most'], rows)}"}


def _idle(raw: Raw) -> dict[str, str]:
    rows = [
        [f"{int(level):,}", _span(one["cpu_ms_per_hop"], 2), f"{raw['ratio_to_the_first'][level]:.2f}", _span(one["hops_per_s"], 0)]
        for level, one in raw["levels"].items()
    ]
    headings = ["idle workflows", "CPU of the TaskManager per hop, ms", "ratio to the first", "hops per second"]
    return {"idle": f"![CPU per hop beside idle workflows]({IDLE_PLOT})\n\n{table(headings, rows)}{_idle_parts(raw['levels'])}"}


def _idle_parts(levels: Mapping[str, Raw]) -> str:
    """Where that goes, what is largest in the last column first; of parts that take next to nothing everywhere, nothing is said."""
    taken = {level: one.get("parts_ms", {}) for level, one in levels.items()}
    names = {name for parts in taken.values() for name, ms in parts.items() if ms >= LEAST_MS}
    last = list(taken.values())[-1] if taken else {}
    rows = [
        [name.partition(": ")[2], *(f"{parts.get(name, 0.0):.2f}" for parts in taken.values())]
        for name in sorted(names, key=lambda name: -last.get(name, 0.0))
    ]
    headings = ["of it, ms per hop", *(f"beside {int(level):,}" for level in taken)]
    return f"\n\n{table(headings, rows)}" if rows else ""


def _parallel(raw: Raw) -> dict[str, str]:
    rows = [[number, _span(one["hops_per_s"], 0), _span(one["cpu_ms_per_hop"], 2), one["limit"]] for number, one in raw.items()]
    return {"parallel": table(["parallelism", "hops per second", "CPU of the TaskManagers per hop, ms", "what limits it"], rows)}


def recovery(raw: Raw) -> dict[str, str]:
    """What `make bench-recovery` leaves."""
    rows = [
        [name, str(one["count"]), f"{one['min_s']:.1f} s", f"{one['median_s']:.1f} s", f"{one['max_s']:.1f} s"]
        for name, one in raw["spread"].items()
        if one is not None
    ]
    head = ["SIGKILL of the TaskManager", "kills", "least", "median", "most"]
    return {"recovery": f"{table(head, rows)}\n\n{raw['in_flight']} workflows in flight. {machine_line(raw['before'])}."}


def model_calls(raw: Raw) -> dict[str, str]:
    """What `python -m bench.model_calls` leaves."""
    names = {CONTRACTS: "Loopwright: contracts first", EVERY_MESSAGE: "the model for every message"}
    rows = [
        [text, *(f"{raw['means'][name][figure]:g}" for figure in ("calls", "prompt_tokens", "completion_tokens"))]
        for name, text in names.items()
    ]
    worked = len(raw["leads"][EVERY_MESSAGE])
    different, refused = raw["different_paths"], ", ".join(raw["refused_by_contract"])
    same = (
        f"**The paths differ** for {', '.join(different)}: these figures do not compare" if different else "All took the same path by both"
    )
    more = f" No contract takes {refused}: that costs no call, and is left out." if refused else ""
    head = ["per lead worked to its end", "model calls", "prompt tokens", "completion tokens"]
    return {"model-calls": f"{table(head, rows)}\n\n{worked} leads. {same}.{more}"}


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(headings), ["---"] * len(headings), *([said(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def said(text: str) -> str:
    """A text that comes from a run, on one line, without the folders of the machine, and short."""
    one_line = _PATH.sub("", " ".join(text.split())).replace("|", "\\|")
    return one_line if len(one_line) <= LONGEST_REMARK else f"{one_line[:LONGEST_REMARK]}..."


def spread_cell(one: Spread | None, decimals: int) -> str:
    """The median, and in brackets the least and the greatest of the repeats."""
    if one is None:
        return "-"
    low, median, high = (f"{value:.{decimals}f}" for value in (one.low, one.median, one.high))
    return f"{median} ({low} to {high})" if low != high else median


def _span(one: Mapping[str, float], decimals: int) -> str:
    return spread_cell(Spread(one["min"], one["median"], one["max"]), decimals)


def machine_line(raw: Raw) -> str:
    """The machine that a figure was measured on, and how busy it was before."""
    return (
        f"{raw['processor']}, {raw['cores']} cores, {raw['memory_gib']} GiB, {raw['system']}, Python {raw['python']}; "
        f"load average before {raw['load_average'][0]}"
    )
