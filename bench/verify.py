"""How fast `loopwright verify` judges a log, and the memory it takes: `python -m bench.verify [--records 100000]`.

The log is that of one SDR lead, worked to the end in the simulation, written as often as is wanted under as many workflow ids. Kafka is
left out: what is measured is one process that takes in the records and judges them.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from bench.machine import machine
from loopwright.history.findings import Clock
from loopwright.history.invariants import Evidence
from loopwright.message import Message, encode
from loopwright.registry.catalogue import Agent
from loopwright.registry.loading import load_team
from loopwright.schemas import STARTED
from loopwright.settings import Settings
from loopwright.step import Record
from loopwright.testing.schema_instance import instance
from loopwright.testing.simulation import Simulation

TEAM = Path(__file__).resolve().parents[1] / "agents" / "sdr"
NAME = "the-workflow-of-the-sample"
LEAD = {"name": "Ada Park", "email": "ada@example.com", "company_name": "Example Ltd", "lead_source": "webinar"}
PARTITIONS = 4


def sample(settings: Settings) -> list[Record]:
    """The log of one lead."""
    team = load_team(TEAM, {"AGENTS_URL": "http://agents"})
    contracts = {definition.endpoint: Agent.of(definition).definition.output for definition in team}

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        output = instance(contracts[payload["url"]], {"next_step": "Actively Engage", "email": LEAD["email"]})
        return {"status": 200, "headers": {}, "body": orjson.dumps(output).decode()}

    def model(_payload: dict[str, Any]) -> dict[str, Any]:
        content = '{"agent": "active-outreach", "confidence": 0.9, "reason": "it fits"}'
        return {"ok": True, "content": content, "model": "m", "tokens": {"prompt": 500, "completion": 20}}

    simulation = Simulation(settings, team, agent, model)
    start = Message(NAME, STARTED, "/bench", NAME, {"document": LEAD}, time_ms=simulation.now_ms)
    simulation.write(settings.topics.messages, encode(start), NAME.encode())
    simulation.run(random.Random(1), within_ms=60_000)  # noqa: S311  # it has to be the same each time
    return [record for log in simulation.logs.values() for record in log]


def copies(log: list[Record], wanted: int) -> Iterator[Record]:
    """The records of as many workflows as make up `wanted` records, topic by topic."""
    workflows = max(1, wanted // len(log))
    for record in log:
        for number in range(workflows):
            name = f"workflow-{number:08d}".encode()
            value = (record.value or b"").replace(NAME.encode(), name)
            offset = record.offset * (workflows // PARTITIONS + 1) + number // PARTITIONS
            yield replace(record, partition=number % PARTITIONS, offset=offset, key=name, value=value)


def main() -> int:
    """Measure, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    settings = Settings(llm_base_url="http://model/v1")
    log = sample(settings)
    evidence, count, began = Evidence(settings.topics, settings.limits, settings.team), 0, time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for record in copies(log, parser.parse_args().records):
        evidence.extend([record])
        count += 1
    report = evidence.report(Clock(max(record.timestamp_ms for record in log)))
    took_s = time.process_time() - began
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    figures = {"records": count, "cpu_s": round(took_s, 1), "records_per_cpu_s": round(count / took_s), "memory_mb": round(grown_mb)}
    sys.stdout.write(json.dumps(figures | {"holds": report.holds, "counts": report.counts, "machine": machine()}, indent=2) + "\n")
    return 0 if report.holds and report.counts["completed"] and not report.counts["not_kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
