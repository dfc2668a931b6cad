"""The supervisor for real, over parts that are light: started again what died, no spinning, ended first, replaced by the next `up`."""

import json
import os
import signal
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.healing import FIRST_DELAY_S
from loopwright.edges.platform.plan import SUPERVISOR, Plan, plan_file
from loopwright.edges.platform.services import Endpoints, Service, healthy
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import ServiceStatus, status
from loopwright.edges.platform.waiting import wait_for
from loopwright.settings import read_settings

SECONDS = 60
FRAGILE = """
import http.server, pathlib, sys, time
with pathlib.Path("starts").open("a") as file:
    file.write(f"{time.time()}\\n")
if pathlib.Path("broken").exists():
    sys.exit(7)
http.server.test(http.server.SimpleHTTPRequestHandler, http.server.ThreadingHTTPServer, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def serving(name: str) -> Service:
    def arguments(endpoints: Endpoints) -> list[str]:
        return ["-c", FRAGILE, str(endpoints.port(name))]

    return Service(name, arguments, health="/")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "work").mkdir()
    config = StackConfig(
        home=tmp_path / "home",
        cache=read_settings().cache_dir(),
        environment={**os.environ, "A_SECRET": "do not show"},
        kafka="127.0.0.1:9",
        flink=None,
        services=(serving("one"), serving("two")),
        folder=tmp_path / "work",
    )
    stack = Stack(config)
    try:
        stack.up()
        yield stack
    finally:
        Stack(config).down(wipe=True)


def seen(stack: Stack, name: str) -> ServiceStatus:
    return next(one for one in status(stack.config).services if one.name == name)


def pid(stack: Stack, name: str) -> int:
    found = stack.processes.running(name)
    return found.pid if found is not None else 0


def left(stack: Stack) -> list[psutil.Process]:
    """Processes that belong to the state folder."""
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(stack.layout.home) in a for a in p.info["cmdline"] or [])]


def test_a_part_that_died_is_started_again_alone_and_status_says_how_often_and_why(stack: Stack) -> None:
    before = {name: pid(stack, name) for name in ("one", "two", SUPERVISOR)}
    os.kill(before["one"], signal.SIGKILL)
    assert wait_for(lambda: seen(stack, "one").state == "running" and seen(stack, "one").pid != before["one"], SECONDS)
    assert (pid(stack, "two"), pid(stack, SUPERVISOR)) == (before["two"], before[SUPERVISOR])
    found = seen(stack, "one")
    assert (found.healed, bool(found.healed_why)) == (1, True)
    assert "one: its process ended" in stack.layout.log(SUPERVISOR).read_text()


def test_a_part_that_can_never_run_does_not_spin_and_comes_back_once_it_can(stack: Stack) -> None:
    work, supervisor = stack.config.folder, pid(stack, SUPERVISOR)
    (work / "starts").unlink()
    (work / "broken").touch()
    os.kill(pid(stack, "one"), signal.SIGKILL)
    assert wait_for(lambda: "exit code 7" in seen(stack, "one").healed_why, SECONDS)
    assert wait_for(lambda: len(starts(work)) >= 4, SECONDS)
    first, *_, fourth = starts(work)[:4]
    assert fourth - first >= 6 * FIRST_DELAY_S  # the delays are 0.5, 1 and 2 s
    (work / "broken").unlink()
    assert wait_for(lambda: seen(stack, "one").state == "running", SECONDS)
    assert pid(stack, SUPERVISOR) == supervisor


def starts(work: Path) -> list[float]:
    """When the parts were started, in seconds."""
    return [float(line) for line in (work / "starts").read_text().split()]


def test_down_ends_the_supervisor_first_and_leaves_nothing_behind(stack: Stack) -> None:
    os.kill(pid(stack, "one"), signal.SIGKILL)
    Stack(stack.config).down()
    assert [pid(stack, name) for name in ("one", "two", SUPERVISOR)] == [0, 0, 0]
    assert wait_for(lambda: not left(stack), SECONDS), left(stack)


def test_a_killed_supervisor_is_shown_and_replaced_by_the_next_up_which_keeps_the_parts(stack: Stack) -> None:
    parts, before = [pid(stack, name) for name in ("one", "two")], pid(stack, SUPERVISOR)
    os.kill(before, signal.SIGKILL)
    assert wait_for(lambda: seen(stack, SUPERVISOR).state == "broken", SECONDS)
    Stack(stack.config).up()
    assert seen(stack, SUPERVISOR).state == "running"
    assert pid(stack, SUPERVISOR) != before
    assert [pid(stack, name) for name in ("one", "two")] == parts


def test_parts_that_a_supervisor_started_outlive_it(stack: Stack) -> None:
    first = pid(stack, "one")
    os.kill(first, signal.SIGKILL)
    assert wait_for(lambda: pid(stack, "one") not in (0, first), SECONDS)
    healed = pid(stack, "one")
    Stack(stack.config).up()
    assert pid(stack, "one") == healed


def test_a_supervisor_whose_state_folder_names_another_one_ends(stack: Stack) -> None:
    found = psutil.Process(pid(stack, SUPERVISOR))
    file = stack.layout.run / f"{SUPERVISOR}.json"
    said = json.loads(file.read_text())
    said["process"]["pid"] = os.getpid()
    file.write_text(json.dumps(said))
    assert wait_for(lambda: not found.is_running() or found.status() == psutil.STATUS_ZOMBIE, SECONDS)
    assert healthy(stack.endpoints.services["one"] + "/")


def test_without_a_supervisor_up_ends_the_one_that_runs(stack: Stack) -> None:
    Stack(replace(stack.config, supervisor=False)).up()
    assert pid(stack, SUPERVISOR) == 0
    assert SUPERVISOR not in [one.name for one in status(stack.config).services]


def test_environments_are_in_a_file_for_its_owner_alone_and_on_no_command_line(stack: Stack) -> None:
    file = plan_file(stack.layout)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Plan.read(file).parts[0].environment["A_SECRET"] == "do not show"
    assert not [process for process in left(stack) if "do not show" in " ".join(process.info["cmdline"])]
