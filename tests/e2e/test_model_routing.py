"""The demo with a real language model behind a real OpenAI-compatible endpoint, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.demo_process import COMMAND_S, START_S, STOP_S, Demo

pytestmark = pytest.mark.timeout(START_S + STOP_S + COMMAND_S)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """llama.cpp's server with a small model; its address is the first line that it prints."""
    command = [sys.executable, "-m", "loopwright.testing.local_model", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def test_the_demo_routes_by_the_model_and_prints_its_calls_per_workflow(endpoint: str, tmp_path: Path) -> None:
    more = {"LOOPWRIGHT_LLM_BASE_URL": endpoint, "LOOPWRIGHT_LLM_FOR_AGENTS": "false"}
    demo = Demo(tmp_path / "home", more)
    try:
        totals = demo.said["totals"]
        assert totals["accounted_for"] == totals["leads"] == 10
        assert 0 < totals["model_calls"] <= 2 * 9
        assert totals["model_calls_per_workflow"] <= 2
        asked = [lead for lead in demo.said["leads"] if "llm" in [decided["strategy"] for decided in lead["strategies"]]]
        assert len(asked) >= 5, json.dumps(
            demo.said["leads"]
        )  # so small a model may chatter past its limit of tokens; such a lead is parked
        story = demo.run("trace", asked[0]["workflow"])
        (decision,) = [s["detail"] for s in story["steps"] if s["kind"] == "decision" and s["detail"]["strategy"] == "llm"]
        assert set(decision["candidates"]) == {"active-outreach", "nurture-campaign"}
        assert decision["tokens"]["prompt"] > 0
    finally:
        code, err = demo.stop()
    assert code == 0, err
