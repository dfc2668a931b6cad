"""Whether Loopwright got slower: its figures as ratios to the asyncio loop measured in the same run, against a baseline that is committed.

A ratio to the loop does not depend on the machine as the figure itself does. How much worse a ratio may be than the baseline's stands in
`TOLERANCES`; latencies scatter more than CPU time does. Where the medians of a run are worse by more, the check fails.
"""

from collections.abc import Mapping
from pathlib import Path

import orjson

from bench.measure import Spread

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCES = {  # figure -> (whether more is better, by what factor it may be worse)
    "hops_per_s": (True, 1.25),
    "cpu_ms_per_hop": (False, 1.25),
    "added_p50_ms": (False, 1.5),
    "added_p99_ms": (False, 2.0),
}


def ratios(product: Mapping[str, Spread], ceiling: Mapping[str, Spread]) -> dict[str, float]:
    """The product's medians by those of the asyncio loop; figures that either lacks are left out."""
    return {
        name: round(product[name].median / ceiling[name].median, 4)
        for name in TOLERANCES
        if name in product and name in ceiling and ceiling[name].median > 0
    }


def worsened(now: Mapping[str, float], baseline: Mapping[str, float]) -> list[str]:
    """What got worse by more than its tolerance, or was not measured, in words; empty where all is well."""
    found = []
    for name, before in baseline.items():
        more_is_better, factor = TOLERANCES[name]
        if name not in now:
            found.append(f"{name} was not measured")
            continue
        worse = before / now[name] if more_is_better else now[name] / before
        if worse > factor:
            found.append(
                f"{name}: {now[name]:.4g} times the asyncio loop's, {before:.4g} in the baseline; worse by {worse:.2f}, {factor} allowed"
            )
    return found


def read(file: Path = BASELINE) -> dict[str, float]:
    """The baseline's ratios."""
    found: dict[str, float] = orjson.loads(file.read_bytes())["ratios"]
    return found


def write(now: Mapping[str, float], machine: Mapping[str, object], file: Path = BASELINE) -> None:
    """Make these ratios the baseline."""
    file.write_bytes(orjson.dumps({"ratios": now, "machine": machine}, option=orjson.OPT_INDENT_2) + b"\n")
