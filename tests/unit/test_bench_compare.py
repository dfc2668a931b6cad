"""Who is measured when, what the table says of a turn that went wrong, and when the check fails."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import check
from bench.compare import checked, left_out, options, rounds
from bench.measure import Spread
from bench.peers import ABSENT
from bench.report import remark, spreads, table
from bench.session import Turn

FIGURES = {"added_p50_ms": 5.0, "added_p99_ms": 20.0, "hops_per_s": 700.0, "cpu_ms_per_hop": 1.4, "model_calls": 5.0, "left_running": 0.0}


def turn(repeat: int, error: str = "", **figures: float) -> Turn:
    return Turn("loopwright", repeat, {"durable": True}, {} if error else {**FIGURES, **figures}, error=error)


def test_a_system_that_was_not_asked_for_is_named_as_left_out() -> None:
    found = left_out(["loopwright"])
    assert "loopwright" not in found
    assert found["restate_peer"] == "left out of this run"
    assert found.items() >= ABSENT.items()


def test_systems_take_turns_and_each_repeat_begins_with_another() -> None:
    assert rounds(["a", "b"], 3) == [(1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a"), (3, "b")]


def test_the_spread_is_of_the_turns_that_went_well() -> None:
    found = spreads([turn(1), turn(2, added_p50_ms=7.0), turn(3, "it was not ready"), turn(4, added_p50_ms=float("nan"))])
    assert found["loopwright"]["added_p50_ms"] == Spread(5.0, 6.0, 7.0)
    assert found["loopwright"]["hops_per_s"] == Spread(700.0, 700.0, 700.0)


def test_what_was_left_undone_is_said() -> None:
    assert remark([turn(1), turn(2)]) == ""
    assert remark([turn(1, latency_unfinished=2.0), turn(2, latency_unfinished=1.0)]) == "3 workflows unfinished"
    assert remark([turn(1, "it was not ready")]) == "repeat 1: it was not ready"
    assert remark([turn(1, model_calls=4.5)]) == "4.5 model calls per workflow"


def test_the_table_names_the_systems_that_were_not_run() -> None:
    screen = Console(width=200, record=True, file=StringIO())
    screen.print(table([turn(1), turn(2, hops_per_s=800.0)], {"other": "it is not packaged"}))
    text = screen.export_text()
    assert "750" in text
    assert "700 to 800" in text
    assert "not run: it is not packaged" in text


def spread_of(**figures: float) -> dict[str, Spread]:
    return {name: Spread(value, value, value) for name, value in figures.items()}


def test_a_ratio_is_of_the_medians() -> None:
    ours, loop = spread_of(hops_per_s=700.0, added_p50_ms=5.0, model_calls=5.0), spread_of(hops_per_s=2800.0, added_p50_ms=0.0)
    assert check.ratios(ours, loop) == {"hops_per_s": 0.25}


@pytest.mark.parametrize("name", list(check.TOLERANCES))
def test_a_ratio_that_got_worse_by_more_than_its_tolerance_fails_the_check(name: str) -> None:
    more_is_better, factor = check.TOLERANCES[name]
    beyond, within = factor * 1.01, factor * 0.99
    worse, nearly = (1 / beyond, 1 / within) if more_is_better else (beyond, within)
    assert check.worsened({name: worse}, {name: 1.0})[0].startswith(name)
    assert check.worsened({name: nearly}, {name: 1.0}) == []
    assert check.worsened({name: 1 / worse}, {name: 1.0}) == []


def test_a_figure_that_was_not_measured_fails_the_check() -> None:
    assert check.worsened({}, {"hops_per_s": 0.2}) == ["hops_per_s was not measured"]


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    check.write({"hops_per_s": 0.2}, {"cores": 2}, file)
    assert check.read(file) == {"hops_per_s": 0.2}


def test_options_say_how_often_and_who() -> None:
    assert options(["--quick"]).repeats == 1
    assert "asyncio_loop" in options([]).names
    assert options(["--peers", "asyncio_loop"]).names == ["asyncio_loop"]
    with pytest.raises(SystemExit):
        options(["--peers", "nobody"])


def test_a_check_without_a_baseline_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with pytest.raises(SystemExit):
        options(["--check", "--baseline", str(file)])
    file.write_text("{}")
    given = options(["--check", "--baseline", str(file)])
    assert (given.names, given.repeats) == (["asyncio_loop", "loopwright"], 3)


def test_the_check_fails_where_loopwright_got_slower_and_not_before(tmp_path: Path) -> None:
    file, screen = tmp_path / "baseline.json", Console(file=StringIO())
    turns = [turn(1), Turn("asyncio_loop", 1, {}, {"hops_per_s": 2800.0})]
    for before, code in ((0.25, 0), (0.35, 1)):
        check.write({"hops_per_s": before}, {}, file)
        assert checked(turns, options(["--check", "--baseline", str(file)]), screen) == code
