"""The plots of docs/performance.md, as SVG. The same figures give the same bytes: no date, and identifiers that follow from the content."""

import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import CEILING, PRODUCT, spreads
from bench.sections import ordered, shown
from bench.session import Turn

OURS, LOOP = "#0072b2", "#8a8a8a"
OTHERS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")  # told apart with any colour vision
LEAST_MS = 0.1
STYLE: dict[Any, Any] = {  # the stubs want each name as a literal
    "svg.hashsalt": "loopwright",
    "svg.fonttype": "none",  # text stays text: it can be read, searched and compared
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
}


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each system: Loopwright and the loop have their own."""
    others = sorted(set(names) - {PRODUCT, CEILING})
    return {**{name: OTHERS[number % len(OTHERS)] for number, name in enumerate(others)}, PRODUCT: OURS, CEILING: LOOP}


def latency(turns: Sequence[Turn]) -> str:
    """The distribution of the added latency of each system: the median of the repeats, and a band from the least to the greatest."""
    names = [name for name in ordered(turns) if _distributions(turns, name)]
    colour = colours(names)
    with mpl.rc_context(STYLE):
        figure, axes = _new("added latency of a hop, ms", "share of the hops", 4.4)
        for name in names:
            found = _distributions(turns, name)
            percents = sorted(set.intersection(*(set(one) for one in found)), key=float)
            columns = [[max(one[percent], LEAST_MS) for one in found] for percent in percents]
            shares = [float(percent) for percent in percents]
            axes.fill_betweenx(shares, [min(c) for c in columns], [max(c) for c in columns], color=colour[name], alpha=0.15, linewidth=0)
            middle, ours = [statistics.median(c) for c in columns], name == PRODUCT
            axes.plot(middle, shares, color=colour[name], linewidth=2.4 if ours else 1.4, label=shown(name), zorder=3 if ours else 2)
        for share in (50, 99):
            axes.axhline(share, color="#bbbbbb", linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xscale("log")
        axes.set_ylim(0, 101)
        axes.set_yticks([0, 25, 50, 75, 99], ["0", "25 %", "50 %", "75 %", "99 %"])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return _svg(figure)


def throughput(turns: Sequence[Turn]) -> str:
    """Hops per second of each system: a bar for the median, a line from the least to the greatest of the repeats."""
    found = spreads(turns)
    names = [name for name in ordered(turns) if "hops_per_s" in found[name]][::-1]
    hops, colour = [found[name]["hops_per_s"] for name in names], colours(names)
    with mpl.rc_context(STYLE):
        figure, axes = _new("hops per second (model and agents answer at once, 100 workflows open)", "", 0.9 + 0.38 * len(names))
        axes.barh(range(len(names)), [one.median for one in hops], color=[colour[name] for name in names], height=0.62)
        for place, one in enumerate(hops):
            axes.plot([one.low, one.high], [place, place], color="#333333", linewidth=1.4)
            axes.annotate(f"{one.median:.0f}", (one.high, place), xytext=(5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(names)), [shown(name) for name in names])
        axes.margins(x=0.1)
        axes.set_xlim(left=0)
        return _svg(figure)


def idle(levels: Mapping[str, Any]) -> str:
    """CPU per hop against the number of idle workflows: the median of the windows, and a line from the least to the greatest."""
    counts, found = [int(level) for level in levels], [one["cpu_ms_per_hop"] for one in levels.values()]
    middle = [one["median"] for one in found]
    with mpl.rc_context(STYLE):
        figure, axes = _new("idle workflows in the state", "CPU per hop, ms", 3.2)
        axes.errorbar(
            counts,
            middle,
            yerr=[[one["median"] - one["min"] for one in found], [one["max"] - one["median"] for one in found]],
            color=OURS,
            marker="o",
            capsize=3,
            linewidth=1.6,
        )
        axes.set_xscale("log")
        axes.set_ylim(0, max(one["max"] for one in found) * 1.2)
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.margins(x=0.08)
        return _svg(figure)


def _distributions(turns: Sequence[Turn], name: str) -> list[dict[str, float]]:
    return [turn.distribution_ms for turn in turns if turn.peer == name and turn.distribution_ms and not turn.error]


def _new(x: str, y: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.0, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
