"""Two minutes in which everything is killed at random, with two hundred workflows in flight; then every one of them is accounted for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.demo_process import PLAIN, ROOT

SECONDS, DRAIN_S = 120, 900
pytestmark = pytest.mark.timeout(1800)


def test_two_minutes_of_kills_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    options = ["--seconds", str(SECONDS), "--gap", "12", "--drain", str(DRAIN_S), "--home", str(tmp_path / "home"), "--json"]
    command = [sys.executable, "-m", "loopwright.testing.chaos", "--seed", "4", *options]
    done = subprocess.run(command, capture_output=True, env=PLAIN, cwd=ROOT, timeout=1750, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-8000:]
    report = json.loads(done.stdout)
    assert report["holds"]
    assert {kill["part"] for kill in report["kills"]} == {"taskmanager-1", "jobmanager", "kafka", "agents", "gateway"}
    assert min(kill["in_flight"] for kill in report["kills"]) >= 200
    counts = report["workflows"]
    assert counts["started"] >= 400
    assert counts["completed"] + counts["parked"] + counts["failed"] == counts["started"]
    assert report["effects"]["wrong"] == report["lost"] == report["verify"]["broken"] == []
