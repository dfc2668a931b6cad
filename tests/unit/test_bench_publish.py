"""What becomes of raw results on the page: only what stands between its markers, only from what was measured, and the same each time."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import publish, sections
from bench.publish import BEGIN, END, NOT_YET, PAGE, SECTIONS, SOURCES, Unpublishable, main, replaced

MACHINE = {
    "processor": "A processor",
    "cores": 2,
    "memory_gib": 8.0,
    "system": "Linux 6",
    "python": "3.11.7",
    "load_average": [0.25, 1.0, 1.0],
}
COURSE = {
    "throughput_warm_s": 10,
    "throughput_longest_warm_s": 90,
    "throughput_s": 20,
    "latency_warm_s": 10,
    "latency_longest_warm_s": 40,
    "latency_s": 60,
    "open_workflows": 100,
    "rate": 20.0,
    "drain_s": 60,
}
FIGURES = {"added_p50_ms": 4.0, "added_p99_ms": 16.0, "hops_per_s": 800.0, "cpu_ms_per_hop": 1.25, "latency_cpu_ms_per_hop": 2.5}
REST = {"memory_mib": 900.0, "model_calls": 5.0, "simulators_busy_cores": 0.4, "latency_busy_cores": 0.25}


def turn(peer: str, repeat: int = 1, times: float = 1.0, durable: bool = True, **more: Any) -> dict[str, Any]:
    about = {"name": peer, "durable": durable, "how": f"as {peer} recommends", "versions": {peer: "1.2"}}
    figures = {**{name: value * times for name, value in FIGURES.items()}, **REST}
    distribution = {"0": 1.0 * times, "50": 4.0 * times, "99": 16.0 * times, "100": 40.0 * times}
    base = {"peer": peer, "repeat": repeat, "about": about, "figures": figures, "distribution_ms": distribution, "load_average": 0.5}
    return {**base, "cores": [0], "error": "", "log": "x.log", **more}


def comparison(*turns: dict[str, Any], repeats: int = 5, not_run: dict[str, str] | None = None) -> dict[str, Any]:
    pins = {"system": 0, "simulators and driver": 1}
    about = {"before": MACHINE, "after": MACHINE, "course": COURSE, "repeats": repeats, "cores": pins}
    return {**about, "spread": {}, "not_run": not_run or {}, "turns": list(turns)}


def spread(median: float) -> dict[str, float]:
    return {"count": 3, "min": median - 0.5, "median": median, "p99": median + 0.5, "max": median + 0.5}


GROWTH = {
    "before": MACHINE,
    "after": MACHINE,
    "memory": {
        "idle": {"bytes": 6144, "heap": 5120, "rest": 1024, "points": [[0, 0.0, 0.0], [10_000, 1.0, 1.0]]},
        "calling": {"bytes": 30720, "heap": 20480, "rest": 10240, "points": [[0, 0.0, 0.0], [9_000, 1.0, 1.0]]},
        "checkpoints": {
            "took_ms": spread(200),
            "size_bytes": spread(5),
            "gap_ms": spread(20),
            "gap_without_ms": spread(10),
            "in_flight": 9000,
        },
    },
    "cpu": {
        "levels": {
            level: {
                "hops_per_s": spread(600),
                "cpu_ms_per_hop": spread(cpu),
                "parts_ms": {"TaskManager: deciding": cpu, "TaskManager: x": 0},
            }
            for level, cpu in (("100", 1.5), ("10000", 1.65))
        },
        "ratio_to_the_first": {"100": 1.0, "10000": 1.1},
    },
    "parallel": {"1": {"hops_per_s": spread(700), "cpu_ms_per_hop": spread(1.5), "limit": "taskmanager-1: it takes 0.9 cores"}},
}
RECOVERY = {"before": MACHINE, "in_flight": 220, "spread": {"one TaskManager": {"count": 5, "min_s": 5.9, "median_s": 6.6, "max_s": 10.3}}}
MODEL_CALLS = {
    "machine": MACHINE,
    "different_paths": [],
    "refused_by_contract": ["c"],
    "means": {
        "contracts first": {"calls": 1.0, "prompt_tokens": 350.89, "completion_tokens": 28.11},
        "one call per message": {"calls": 5.0, "prompt_tokens": 3385.11, "completion_tokens": 132.11},
    },
    "leads": {"contracts first": {"a": {}, "b": {}, "c": {}}, "one call per message": {"a": {}, "b": {}}},
}
COMPARED = comparison(
    turn("asyncio_loop", times=0.25, durable=False),
    turn("loopwright"),
    turn("loopwright", 2, 1.5),
    turn("loopwright", 3, 2.0),
    turn("dbos_peer", times=8.0),
    turn("restate_peer", times=3.0),
    not_run={"other_peer": "it is not packaged"},
)
CORE = {"before": MACHINE, "hops": 1000, "runs": [0.5, 0.75], "cpu_ms_per_hop": {"low": 0.5, "median": 0.625, "high": 0.75}}
EDGES = {
    "before": MACHINE,
    "hops": 1000,
    "at_once": 16,
    "cpu_ms_per_hop": {name: {"low": 0.25, "median": 0.5, "high": 0.75} for name in ("acted", "bare")},
}
RAW = {"compare": COMPARED, "growth": GROWTH, "recovery": RECOVERY, "model_calls": MODEL_CALLS, "core": CORE, "edges": EDGES}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with a place for everything, and prose between."""
    there = "\n\n".join(f"Prose about {name}.\n\n{BEGIN.format(name)}\n{NOT_YET}\n{END}" for name in SECTIONS)
    (tmp_path / "page.md").write_text(f"# Performance\n\n{there}\n\nThe end.\n")
    return tmp_path / "page.md"


def raw_files(folder: Path, **raw: dict[str, Any]) -> list[str]:
    """Options that name these raw results, and for the others files that hold nothing new."""
    given = []
    for name, result in raw.items():
        (folder / f"{name}.json").write_bytes(orjson.dumps(result))
        given += [f"--{name.replace('_', '-')}", str(folder / f"{name}.json")]
    return given


@pytest.fixture(autouse=True)
def _nothing_measured_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def section(page: Path, name: str) -> str:
    return page.read_text().split(BEGIN.format(name) + "\n")[1].split("\n" + END)[0]


def everything(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_every_figure_is_filled_in_and_the_prose_stays(page: Path) -> None:
    before = page.read_text()
    assert main(["--page", str(page), *raw_files(page.parent, **RAW)]) == 0
    assert {name for name in SECTIONS if NOT_YET in section(page, name)} == set()
    for text in (before, page.read_text()):
        prose = re.sub(r"<!-- figures: (\S+) -->\n.*?\n<!-- end -->", r"\1", text, flags=re.DOTALL)
        assert prose == "# Performance\n\n" + "\n\n".join(f"Prose about {name}.\n\n{name}" for name in SECTIONS) + "\n\nThe end.\n"


def test_the_same_results_make_the_same_page_and_the_same_plots(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--page", str(page), *raw_files(page.parent, **RAW)]
    main(given)
    first = everything(page.parent)
    assert {sections.LATENCY_PLOT, sections.THROUGHPUT_PLOT, sections.IDLE_PLOT} <= first.keys()
    for name in (sections.LATENCY_PLOT, sections.THROUGHPUT_PLOT, sections.IDLE_PLOT):
        (page.parent / name).unlink()  # drawn again, not left alone
    main(given)
    assert everything(page.parent) == first
    capsys.readouterr()
    main(given)
    assert capsys.readouterr().out == "nothing has changed\n"


def test_beside_idle_workflows_it_is_told_where_the_time_goes_less_what_takes_next_to_nothing() -> None:
    text = sections.growth({**GROWTH, "memory": {}, "parallel": {}})["idle"]
    assert "| deciding | 1.50 | 1.65 |" in text
    assert "| x |" not in text


def test_a_run_of_loopwright_and_the_loop_alone_leaves_the_comparison_as_it_is(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = page.read_text()
    alone = comparison(turn("loopwright"), turn("asyncio_loop", durable=False), turn("dbos_peer", error="it ended", figures={}))
    assert main(["--page", str(page), *raw_files(page.parent, compare=alone)]) == 0
    assert page.read_text() == before
    assert "compare.json: no other durable system was measured in this run" in capsys.readouterr().out


def test_a_plot_names_every_system_that_was_measured_and_no_date(page: Path) -> None:
    main(["--page", str(page), *raw_files(page.parent, compare=COMPARED)])
    for name in (sections.LATENCY_PLOT, sections.THROUGHPUT_PLOT):
        svg = (page.parent / name).read_text()
        assert all(f">{system}<" in svg for system in ("Loopwright", "Restate", "DBOS", "asyncio loop"))
        assert "date" not in svg


def test_what_was_not_measured_keeps_what_stands_there(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--page", str(page), *raw_files(page.parent, growth={**GROWTH, "cpu": {}, "parallel": {}})])
    assert {name for name in SECTIONS if section(page, name) != NOT_YET} == {"memory", "checkpoints"}
    assert "compare.json: it is not there; its figures stay as they are" in capsys.readouterr().out
    memory = section(page, "memory")
    main(["--page", str(page), *raw_files(page.parent, recovery=RECOVERY, growth={**GROWTH, "memory": {}})])
    assert section(page, "memory") == memory
    assert "| one TaskManager | 5 | 5.9 s | 6.6 s | 10.3 s |" in section(page, "recovery")


def test_the_table_has_the_medians_and_the_ranges_loopwright_first_the_loop_after_the_durable_ones() -> None:
    rows = sections.comparison(COMPARED)["comparison"].split("\n\n")[2].splitlines()
    assert rows[2] == "| **Loopwright** | yes | 6.0 (4.0 to 8.0) | 24.0 (16.0 to 32.0) | 1200 (800 to 1600) | " + (
        "1.88 (1.25 to 2.50) | 3.75 (2.50 to 5.00) | 900 | |"
    )
    assert [row.split("|")[1].strip() for row in rows[3:]] == ["Restate", "DBOS", "asyncio loop", "other_peer"]
    assert rows[-1].endswith("| not run: it is not packaged |")


def test_loopwright_is_held_against_the_best_durable_system_in_each_figure() -> None:
    rows = sections.comparison(COMPARED)["comparison"].split("\n\n")[3].splitlines()[2:]
    assert rows[0] == "| added latency of a hop, p50 | 6.0 ms | 12.0 ms (Restate) | 0.50 |"
    assert rows[2] == "| hops per second | 1200 | 6400 (DBOS) | 0.19 |"


def test_a_run_says_where_it_ran_and_what_is_to_be_held_against_it() -> None:
    assert "short run" not in sections.comparison(COMPARED)["run"]
    found = sections.comparison(comparison(turn("loopwright", cores=[0, 1]), repeats=1))
    assert "1 repeat of 1 systems" in found["run"]
    assert "Not so pinned: Loopwright." in found["run"]
    assert "short run" in found["run"]
    assert "the best other" not in found["comparison"]
    loose = {**comparison(turn("loopwright")), "cores": {"system": None, "simulators and driver": None}}
    assert "Nothing was pinned" in sections.comparison(loose)["run"]


def test_a_system_that_did_not_come_up_is_named_without_the_folders_of_the_machine() -> None:
    failed = turn("ml_predict", error="no /home/me/x/flink.jar; read http://127.0.0.1:1/a/b, 5 hops/s | end", figures={}, about={})
    failed["distribution_ms"] = {}
    found = sections.comparison(comparison(turn("loopwright"), failed))
    assert (
        "| ML_PREDICT | | - | - | - | - | - | - | repeat 1: no flink.jar; read http://127.0.0.1:1/a/b, 5 hops/s \\| end |"
        in found["comparison"]
    )
    assert "**ML_PREDICT**: it did not come up." in found["systems"]


def test_figures_that_are_no_numbers_are_left_out() -> None:
    without = turn("loopwright")
    without["figures"]["added_p99_ms"] = None
    assert "| 4.0 | - | 800 |" in sections.comparison(comparison(without))["comparison"]


def test_paths_that_differ_are_said_before_the_figures_are_believed() -> None:
    assert sections.model_calls(MODEL_CALLS)["model-calls"].endswith(
        "2 leads. All took the same path by both. No contract takes c: that costs no call, and is left out."
    )
    assert "**The paths differ** for a" in sections.model_calls({**MODEL_CALLS, "different_paths": ["a"]})["model-calls"]


@pytest.mark.parametrize("text", ["", f"{BEGIN.format('run')}\n{BEGIN.format('idle')}\n{END}\n", f"{BEGIN.format('run')}\nno end\n"])
def test_a_page_without_a_place_for_a_figure_is_refused(text: str) -> None:
    with pytest.raises(Unpublishable, match="the page needs one `<!-- figures: run -->`"):
        replaced(text, {"run": "new"})


@pytest.mark.parametrize("name", list(SOURCES))
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"turns": []}'], ids=["empty", "list", "nothing in it", "no turns"])
def test_a_file_that_is_no_such_result_changes_nothing(page: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    file = page.with_name("raw.json")
    file.write_bytes(content)
    before = page.read_text()
    code = main(["--page", str(page), f"--{name.replace('_', '-')}", str(file)])
    assert page.read_text() == before
    assert code == (0 if name == "growth" and content.startswith(b"{") else 1)  # of growth any part may be missing
    assert code == 0 or "raw.json is no such result" in capsys.readouterr().err


def test_a_file_that_was_named_and_is_not_there_is_a_wrong_use(page: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--page", str(page), "--compare", str(page.with_name("none.json"))])


def test_the_page_has_one_place_for_each_figure_and_no_other() -> None:
    assert sorted(re.findall(r"<!-- figures: (\S+) -->", PAGE.read_text())) == sorted(SECTIONS)
    assert replaced(PAGE.read_text(), dict.fromkeys(SECTIONS, NOT_YET)).count(NOT_YET) == len(SECTIONS)


def test_every_section_is_made_by_one_of_the_measurements() -> None:
    made = [name for option, raw in RAW.items() for name in publish.SOURCES[option][1](raw).sections]
    assert sorted(made) == sorted(SECTIONS)


def test_where_the_processor_time_of_a_hop_goes_is_told_the_largest_part_first() -> None:
    found = turn("loopwright")
    found["figures"] |= {"cpu_ms_per_hop of Kafka": 0.25, "cpu_ms_per_hop of TaskManager: compiling": 0.5}
    rest = turn("loopwright", 2)
    rest["figures"] |= {"cpu_ms_per_hop of Kafka": 0.75, "latency_cpu_ms_per_hop of Kafka": 0.75}
    text = sections.comparison(comparison(found, rest, turn("restate_peer")))["capacity"]
    head = "part | ms at full load | ms at 100 hops/s |"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split(head)[1].splitlines()[2:]]
    assert rows == [["Kafka", "0.50 (0.25 to 0.75)", "0.75"], ["TaskManager: compiling", "0.50", "-"]]
    assert "part" not in sections.comparison(comparison(turn("loopwright"), turn("restate_peer")))["capacity"]
