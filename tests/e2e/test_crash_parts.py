"""SIGKILL of each part while two hundred workflows are under way: the supervisor heals it, every workflow ends, no mail is sent twice.

Then everything is killed at once and the two newest checkpoints are damaged: the job resumes from the one before them.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.edges.platform.plan import SUPERVISOR
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.waiting import wait_for
from tests.e2e.crash_platform import ALL_S, FIRST_S, CrashPlatform
from tests.e2e.demo_process import COMMAND_S, START_S, STOP_S

pytestmark = pytest.mark.timeout(START_S + STOP_S + FIRST_S + ALL_S + COMMAND_S)
HEALED_S = 60


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashPlatform]:
    platform = CrashPlatform(tmp_path_factory.mktemp("crash") / "home")
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


@pytest.mark.parametrize("part", ["taskmanager-1", "jobmanager", "kafka", "agents"])
def test_after_sigkill_of_a_part_all_workflows_complete_and_no_mail_is_sent_twice(platform: CrashPlatform, part: str) -> None:
    load, before = platform.send(), platform.healed(part)
    platform.let_go()
    platform.kill(part)
    platform.assert_nothing_lost_and_nothing_twice(load)
    assert platform.healed(part) == before + 1
    assert wait_for(lambda: platform.status().well, HEALED_S)


def test_a_killed_supervisor_is_shown_and_replaced_by_the_next_up(platform: CrashPlatform) -> None:
    before = platform.pid(SUPERVISOR)
    platform.kill(SUPERVISOR)
    assert wait_for(lambda: {s.name: s.state for s in platform.status().services}[SUPERVISOR] == "broken", HEALED_S)
    platform.up()
    assert platform.pid(SUPERVISOR) != before
    platform.kill("gateway")
    assert wait_for(lambda: platform.healed("gateway") == 1 and platform.status().well, HEALED_S)


def damage_metadata(point: Path) -> None:
    (point / "_metadata").write_bytes(b"\xff" * 100)


def damage_state(point: Path) -> None:
    files = [file for file in point.iterdir() if file.name != "_metadata"]
    largest = max(files, key=lambda file: file.stat().st_size)
    largest.write_bytes(b"\xff" * largest.stat().st_size)


def test_after_a_crash_with_damaged_checkpoints_the_job_resumes_from_the_one_before_and_nothing_is_lost(platform: CrashPlatform) -> None:
    load = platform.send(count=60, at_least=40)
    jobs = Stack(platform.config).jobs
    earlier = set(jobs.resume_points())
    assert wait_for(lambda: len(set(jobs.resume_points()) - earlier) >= 3, FIRST_S), "no three checkpoints were made since"
    platform.kill(SUPERVISOR, *(s.name for s in platform.status().services if s.name != SUPERVISOR))
    newest, second, third, *_ = jobs.resume_points()
    damage_metadata(newest)
    damage_state(second)
    platform.up()
    said = [progress.detail for progress in platform.told if progress.name == "job"]
    for point in (newest, second):
        assert any(str(point) in detail and "cannot be restored" in detail for detail in said)
    assert said[-1] == f"from {third.name}"
    platform.let_go()
    platform.assert_nothing_lost_and_nothing_twice(load)
