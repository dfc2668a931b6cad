"""The pure part of a soak: what counts as flat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.history.invariants import Report
from loopwright.testing.chaos.effects import Effects
from loopwright.testing.chaos.load import Tally
from loopwright.testing.soak.course import Course, Sample
from loopwright.testing.soak.probe import left
from loopwright.testing.soak.report import BOUNDS, report_of
from loopwright.testing.soak.trend import Bound, slope, trend

MIB = Bound("resident", "MiB", 2.0)


@given(st.floats(-100, 100), st.floats(-1e4, 1e4), st.integers(2, 600))
def test_the_slope_of_a_line_is_that_of_the_line(rise: float, begin: float, count: int) -> None:
    assert slope([(float(x), begin + rise * x) for x in range(count)]) == pytest.approx(rise, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_a_few_wild_points_do_not_change_the_slope(wild: list[float]) -> None:
    points = [(float(x), wild[x // 10] if x % 10 == 5 and x // 10 < len(wild) else 3.0) for x in range(100)]
    assert slope(points) == 0.0


def test_too_few_points_have_no_slope() -> None:
    assert slope([]) == slope([(1.0, 5.0)]) == slope([(1.0, 5.0), (1.0, 9.0)]) == 0.0


def test_growth_during_the_warm_up_does_not_count_and_growth_after_it_does() -> None:
    rises = [(float(at_s), float(min(at_s, 100))) for at_s in range(300)]
    assert trend(MIB, rises, 100).flat
    found = trend(MIB, rises, 0)
    assert not trend(MIB, rises[:100], 0).flat
    assert (found.first, found.last, found.most) == (0.0, 100.0, 100.0)


def test_what_was_not_measured_is_not_flat() -> None:
    assert not trend(MIB, [], 0).flat
    assert not trend(MIB, [(1.0, 1.0)], 10).flat


SERIAL = """123:
 def new generation   total 49152K, used 2048K [0x00000000d6c00000, 0x00000000da150000, 0x00000000e4800000)
  eden space 43712K,   4% used [0x00000000d6c00000, 0x00000000d6e00000, 0x00000000d96b0000)
 tenured generation   total 109248K, used 10240K [0x00000000e4800000, 0x00000000eb2b0000, 0x0000000100000000)
   the space 109248K,   9% used [0x00000000e4800000, 0x00000000e5200000, 0x00000000eb2b0000)
 Metaspace       used 5120K, committed 5376K, reserved 1114112K
  class space    used 512K, committed 640K, reserved 1048576K
"""
G1 = """123:
 garbage-first heap   total 260096K, used 4096K [0x0000000702000000, 0x0000000800000000)
  region size 2048K, 1 young (2048K), 0 survivors (0K)
 Metaspace       used 1024K, committed 1216K, reserved 1114112K
"""


def test_what_a_collection_leaves_is_read_from_what_jcmd_says() -> None:
    assert left(SERIAL) == {"heap": 12.0, "metaspace": 5.0}
    assert left(G1) == {"heap": 4.0, "metaspace": 1.0}
    assert left("") == {}


def checks(course: Course, crashed: list[str] | None = None) -> dict[str, bool]:
    logged = Report((), {"workflows": 0, "open": 0, "duplicates_fenced": 0})
    report = report_of(10, course, crashed or [], Tally(), Effects(0, 0, 0, 0, 0, ()), logged)
    assert report.holds == all(check.holds for check in report.checks)
    return {check.name: check.holds for check in report.checks}


def course(growth: dict[str, float] | None = None) -> Course:
    """Ten minutes in which each figure stays, but for those that grow by so much in a minute."""
    rises = growth or {}
    looks = range(0, 600, 5)
    samples = [Sample(at_s, {bound.figure: 100 + rises.get(bound.figure, 0) * at_s / 60 for bound in BOUNDS}) for at_s in looks]
    return Course(samples, restarts=9)


def test_a_soak_in_which_nothing_grows_holds() -> None:
    assert set(checks(course()).values()) == {True}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.figure)
def test_each_figure_that_grows_faster_than_its_bound_is_found(bound: Bound) -> None:
    assert checks(course({bound.figure: bound.per_minute * 0.9}))[f"{bound.figure} stays flat"]
    assert not checks(course({bound.figure: bound.per_minute * 1.1}))[f"{bound.figure} stays flat"]


def test_a_crash_report_and_a_dead_task_manager_are_found() -> None:
    assert not checks(course(), ["hs_err_12.log"])["no JVM crashed"]
    dead = course()
    dead.died = True
    assert not checks(dead)["no JVM crashed"]
