"""SIGKILL of the Python workers, in process mode, while two hundred workflows are under way: all complete, no mail is sent twice."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from loopwright.edges.platform.waiting import wait_for
from loopwright.settings import Platform
from tests.e2e.crash_platform import ALL_S, FIRST_S, CrashPlatform
from tests.e2e.demo_process import COMMAND_S, START_S, STOP_S

pytestmark = pytest.mark.timeout(START_S + STOP_S + FIRST_S + ALL_S + COMMAND_S)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[CrashPlatform]:
    platform = CrashPlatform(tmp_path / "home", Platform(execution_mode="process"))
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


def workers(platform: CrashPlatform) -> list[psutil.Process]:
    """The Python processes under the TaskManager."""
    family = psutil.Process(platform.pid("taskmanager-1")).children(recursive=True)
    return [process for process in family if "python" in process.name()]


def test_after_sigkill_of_the_python_workers_all_workflows_complete_and_no_mail_is_sent_twice(platform: CrashPlatform) -> None:
    load = platform.send()
    killed = workers(platform)
    assert killed, "no Python worker runs: this is not process mode"
    platform.let_go()
    for worker in killed:
        worker.kill()
    platform.assert_nothing_lost_and_nothing_twice(load)
    assert wait_for(lambda: workers(platform) and platform.status().well, FIRST_S)
    assert not set(workers(platform)) & set(killed)
