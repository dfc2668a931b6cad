"""What a hop costs in what decides alone, with neither Flink nor Kafka nor HTTP: `python -m bench.core`.

The workload of the comparison, worked by the job's own deciders in the simulation: parse, fold, mask, ask, decide, call, judge, and the
bytes of all records and states. It is the least that a hop takes in Python on this machine, whatever carries it.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from rich.console import Console

from bench.machine import machine
from bench.peers.loopwright import TEAM, definitions
from bench.workload import BEFORE_DOCUMENT, HOPS, MODEL, choose, lead, output
from loopwright.registry.definition import AgentDefinition
from loopwright.schemas import WORKFLOW_COMPLETED
from loopwright.settings import Routing, Settings
from loopwright.testing.simulation import Simulation

OUT = Path(".loopwright") / "bench" / "core.json"
NOWHERE = "http://127.0.0.1:9"
WORKFLOWS, WARM, RUNS = 200, 20, 9


def agent(payload: dict[str, Any]) -> dict[str, Any]:
    """An agent's answer, as a performer gives it."""
    body = orjson.dumps(output(payload["url"].rsplit("/", 1)[1])).decode()
    return {"status": 200, "headers": {}, "body": body, "duration_ms": 0}


def model(payload: dict[str, Any]) -> dict[str, Any]:
    """The model's answer, as a performer gives it."""
    document = orjson.loads(payload["messages"][-1]["content"].rpartition(BEFORE_DOCUMENT)[2])
    content = orjson.dumps({"agent": choose(document), "confidence": 1, "reason": "it is next"}).decode()
    return {"ok": True, "content": content, "model": "m", "tokens": {"prompt": 1, "completion": 1}, "duration_ms": 0}


def team(simulators: str = NOWHERE) -> tuple[Settings, list[AgentDefinition]]:
    """The settings and the agents of the comparison."""
    settings = Settings(team=TEAM, llm_base_url=f"{simulators}/v1", llm_model=MODEL, routing=Routing(ask_when_only_one=True))
    return settings, [AgentDefinition.model_validate(one) for one in definitions(simulators)]


def worked(workflows: int) -> Simulation:
    """So many leads, worked to their end one after the other. Raises RuntimeError where one was not completed."""
    settings, agents = team()
    simulation = Simulation(settings, agents, agent, model)
    for number in range(workflows):
        simulation.write(settings.topics.messages, orjson.dumps(lead(number)))
        while _stepped(simulation):
            pass
    ends = [message.type for message in simulation.read(settings.topics.results)]
    if ends != [WORKFLOW_COMPLETED] * workflows:
        raise RuntimeError(f"{workflows} leads were worked, and this is how they ended: {sorted(set(ends))}, {len(ends)} of them")
    return simulation


def _stepped(simulation: Simulation) -> bool:
    """Read whatever waits, and let every call come back; whether there was anything."""
    found = False
    for loop in simulation.loops:
        for place in simulation.unread(loop):
            simulation.deliver(loop, place)
            found = True
        for key, call_id in list(loop.in_flight):
            simulation.come_back(loop, key, call_id)
            found = True
    return found


def measured(workflows: int, runs: int) -> list[float]:
    """Processor time of a hop in ms, in each of the runs."""
    worked(WARM)
    found = []
    for _ in range(runs):
        began = time.process_time()
        worked(workflows)
        found.append((time.process_time() - began) * 1000 / (workflows * HOPS))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.core", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workflows", type=int, default=WORKFLOWS, help=f"of {HOPS} hops in each run ({WORKFLOWS})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"({RUNS})")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go as JSON ({OUT})")
    given = parser.parse_args(arguments)
    before, found = machine(), measured(given.workflows, given.runs)
    said = {"before": before, "hops": given.workflows * HOPS, "runs": found}
    said["cpu_ms_per_hop"] = {"low": min(found), "median": median(found), "high": max(found)}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(said, indent=2) + "\n")
    Console().print(
        f"a hop: {min(found):.2f} ms of processor time, median {median(found):.2f}, most {max(found):.2f}; {given.out}", markup=False
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
