"""Makes the figures of docs/performance.md anew from the raw results that measurements left: `make bench-docs`.

    python -m bench.publish [--compare FILE] [--growth FILE] [--recovery FILE] [--model-calls FILE]
                            [--core FILE] [--edges FILE]

What stands on the page between `<!-- figures: NAME -->` and `<!-- end -->` is replaced, and the plots beside it are drawn anew; everything
else is prose, and stays. Figures whose raw result is not there stay as they are. No figure is written by hand.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bench import plots, sections
from bench.sections import Raw
from bench.session import OUT

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: {} -->", "<!-- end -->"
NOT_YET = "not measured yet"
SECTIONS = (
    "comparison",
    "run",
    "systems",
    "capacity",
    "memory",
    "idle",
    "parallel",
    "checkpoints",
    "recovery",
    "model-calls",
    "core",
    "edges",
)


class Unpublishable(Exception):
    """A raw result or the page is not what it should be; the text says how, and what to do."""


@dataclass
class Made:
    """Sections of the page by name, and plots by the name of their file; why there are none, where a result is not for the page."""

    sections: dict[str, str] = field(default_factory=dict)
    plots: dict[str, str] = field(default_factory=dict)
    left: str = ""


def of_comparison(raw: Raw) -> Made:
    """Of what `make bench` leaves. A run of Loopwright alone, to try a change or for `make bench-check`, compares with nobody."""
    turns = sections.turns_of(raw)
    if turns and not sections.others(turns):
        return Made(left="no other durable system was measured in this run")
    if not any(turn.distribution_ms for turn in turns):
        raise LookupError("no system was measured to the end")
    return Made(sections.comparison(raw), {sections.LATENCY_PLOT: plots.latency(turns), sections.THROUGHPUT_PLOT: plots.throughput(turns)})


def of_growth(raw: Raw) -> Made:
    """Of what `python -m bench.growth` leaves."""
    levels = raw.get("cpu", {}).get("levels")
    return Made(sections.growth(raw), {sections.IDLE_PLOT: plots.idle(levels)} if levels else {})


SOURCES: Mapping[str, tuple[str, Callable[[Raw], Made]]] = {  # option -> the file below .loopwright/bench/, and what is made of it
    "compare": ("compare.json", of_comparison),
    "growth": ("growth.json", of_growth),
    "recovery": ("recovery.json", lambda raw: Made(sections.recovery(raw))),
    "model_calls": ("model_calls.json", lambda raw: Made(sections.model_calls(raw))),
    "core": ("core.json", lambda raw: Made(sections.core(raw))),
    "edges": ("edges.json", lambda raw: Made(sections.edges(raw))),
}


def replaced(page: str, found: Mapping[str, str]) -> str:
    """The page with these sections. Raises Unpublishable where it has no place, or more than one, for one of them."""
    for name, text in found.items():
        pattern = re.compile(re.escape(BEGIN.format(name)) + r"\n(?:(?!<!-- ).*\n)*?" + re.escape(END))
        if len(pattern.findall(page)) != 1:
            raise Unpublishable(f"the page needs one `{BEGIN.format(name)}` with `{END}` after it, each on a line of its own")
        new = f"{BEGIN.format(name)}\n{text}\n{END}"
        page = pattern.sub(lambda _, new=new: new, page)  # type: ignore[misc]
    return page


def made(file: Path, make: Callable[[Raw], Made]) -> Made:
    """What comes of a raw result. Raises Unpublishable where the file holds something else."""
    try:
        raw: dict[str, Any] = orjson.loads(file.read_bytes())
        return make(raw)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise Unpublishable(f"{file} is no such result as is measured now ({why}): measure again, or leave it out") from error


def publish(found: Sequence[Made], page: Path) -> list[str]:
    """Bring the page, and the plots beside it, up to these; the names of the files that changed. Raises Unpublishable."""
    text = page.read_text()
    for one in found:
        text = replaced(text, one.sections)
    wanted = {page: text, **{page.with_name(name): svg for one in found for name, svg in one.plots.items()}}
    changed = {file: content for file, content in wanted.items() if not file.is_file() or file.read_text() != content}
    for file, content in changed.items():
        file.write_text(content)
    return [file.name for file in changed]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the figures anew; exit code 1 where that cannot be done, and then nothing is changed."""
    parser = argparse.ArgumentParser(prog="python -m bench.publish", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, (file, _) in SOURCES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="FILE", help=f"({OUT / file})")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page; plots go beside it")
    given = parser.parse_args(arguments)
    asked: dict[str, Path | None] = {name: getattr(given, name) for name in SOURCES}
    if missing := [str(file) for file in asked.values() if file is not None and not file.is_file()]:
        parser.error(f"there is no {', '.join(missing)}")
    files = {name: asked[name] or OUT / SOURCES[name][0] for name in SOURCES}
    try:
        found = {file: made(file, SOURCES[name][1]) if file.is_file() else Made(left="it is not there") for name, file in files.items()}
        changed = publish(list(found.values()), given.page)
    except Unpublishable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for source, one in found.items():
        sys.stdout.write(f"{source}: {one.left}; its figures stay as they are\n" if one.left else "")
    sys.stdout.write(f"written: {', '.join(changed)}\n" if changed else "nothing has changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
