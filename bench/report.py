"""The table of a run, and its raw results as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from bench.measure import Spread, spread
from bench.session import Turn

CEILING, PRODUCT = "asyncio_loop", "loopwright"
COLUMNS = {  # figure -> heading, decimals
    "added_p50_ms": ("added latency p50, ms", 1),
    "added_p99_ms": ("p99, ms", 1),
    "hops_per_s": ("hops/s", 0),
    "cpu_ms_per_hop": ("CPU ms/hop", 2),
    "latency_cpu_ms_per_hop": ("at 100/s", 2),
    "memory_mib": ("MiB", 0),
}


def spreads(turns: Sequence[Turn]) -> dict[str, dict[str, Spread]]:
    """Of each system, the spread of each figure over its repeats; those that went wrong are left out."""
    found: dict[str, dict[str, Spread]] = {}
    for peer in dict.fromkeys(turn.peer for turn in turns):
        good = [turn.figures for turn in turns if turn.peer == peer and not turn.error]
        names = dict.fromkeys(name for figures in good for name in figures)
        known = {name: spread([f[name] for f in good if name in f and not math.isnan(f[name])]) for name in names}
        found[peer] = {name: one for name, one in known.items() if one is not None}
    return found


def remark(turns: Sequence[Turn]) -> str:
    """What is to be known of a system's figures: what went wrong, what was left undone or done twice."""
    said = [f"repeat {turn.repeat}: {turn.error}" for turn in turns if turn.error]
    names = {
        "latency_unfinished": "workflows unfinished",
        "not_done": "workflows not reported done",
        "latency_repeated": "agent calls repeated",
        "refused_starts": "starts refused",
        "latency_refused_starts": "starts refused at 100/s",
        "refused_requests": "requests not understood",
        "left_running": "processes had to be killed",
    }
    for name, text in names.items():
        total = sum(turn.figures.get(name, 0) for turn in turns if not turn.error)
        said += [f"{total:.0f} {text}"] if total else []
    calls = {round(turn.figures["model_calls"], 2) for turn in turns if turn.figures.get("model_calls")}
    said += [f"{', '.join(f'{one:g}' for one in sorted(calls))} model calls per workflow"] if calls - {5.0} else []
    return "; ".join(said)


def table(turns: Sequence[Turn], absent: Mapping[str, str]) -> Table:
    """One row for each system: the median, and below it the least and the greatest of the repeats."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    shown.add_column("system")
    shown.add_column("durable")
    for heading, _ in COLUMNS.values():
        shown.add_column(heading, justify="right")
    shown.add_column("remarks", overflow="fold")
    for peer, figures in spreads(turns).items():
        mine = [turn for turn in turns if turn.peer == peer]
        about = next((turn.about for turn in mine if turn.about), {})
        cells = [_cell(figures.get(name), decimals) for name, (_, decimals) in COLUMNS.items()]
        shown.add_row(peer, {True: "yes", False: "no"}.get(about.get("durable", ""), ""), *cells, remark(mine))
    for peer, why in absent.items():
        shown.add_row(peer, "", *[""] * len(COLUMNS), f"not run: {why}")
    return shown


def _cell(one: Spread | None, decimals: int) -> str:
    if one is None:
        return "-"
    low, median, high = (f"{value:.{decimals}f}" for value in (one.low, one.median, one.high))
    return f"{median}\n{low} to {high}" if low != high else median


def written(turns: Sequence[Turn], absent: Mapping[str, str], more: Mapping[str, Any], file: Path) -> None:
    """Keep the raw results."""
    found = {peer: {name: asdict(one) for name, one in figures.items()} for peer, figures in spreads(turns).items()}
    body = {**more, "spread": found, "not_run": dict(absent), "turns": [asdict(turn) for turn in turns]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
