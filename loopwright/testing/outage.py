"""A model that is down for a while, for real: the local platform, Kafka and Flink included, under a steady stream of new workflows.

    python -m loopwright.testing.outage --minutes 10 [--per-second 5]

For a third of the time nobody listens where the model should be, for a third it answers 401, for a third 503; then it is well again. Every
ten seconds a line says what was started, how much of it waits in Kafka, what ended and what was parked, and how large the TaskManager is.
The summary is JSON; the exit code is 1 where a workflow was parked, failed or lost, or where `loopwright verify` finds anything broken.
The settings of the circuit and the limits are those of the environment.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from loopwright import schemas
from loopwright.clock import now_ms
from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.lag import lag_of
from loopwright.message import Message, emitted, read
from loopwright.settings import read_settings
from loopwright.testing.model_server import ModelServer

COMMAND = [sys.executable, "-c", "from loopwright.cli.main import main; main()"]
PHASES = ("refused", "http-401", "http-503")
WELL = "ok"
SAMPLE_S, STEP_S, DRAIN_S = 10.0, 1.0, 1800.0
LEAD = {
    "company_name": "Engines Ltd",
    "lead_source": "webinar",
    "project_description": "We need a tool before Q3; the budget is approved.",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the outage began; workflows started, taken in by the router, ended, parked; records of agent-messages that
    the job has not read; resident MiB of the TaskManagers; seconds since the newest checkpoint; questions that reached the model."""

    at_s: int
    model: str
    started: int
    taken_in: int
    ended: int
    parked: int
    lag: int
    resident_mib: int
    checkpoint_age_s: float
    asked: int


class Outage:
    """The platform in `home`, the model's double at one address, and what was seen."""

    def __init__(self, home: Path, model: ModelServer, address: str) -> None:
        self.settings = read_settings(home=home)
        self.model, self.address = model, address
        self.started, self.began, self.phase = 0, time.monotonic(), WELL
        self.samples: list[Sample] = []

    def command(self, *args: str) -> Any:
        """The JSON that a `loopwright` command on the platform prints. Raises RuntimeError where it prints none."""
        environment = {
            **os.environ,
            "LOOPWRIGHT_HOME": str(self.settings.home),
            "LOOPWRIGHT_LLM_BASE_URL": self.address,
            "LOOPWRIGHT_LLM_MODEL": "double",
            "LOOPWRIGHT_LLM_FOR_AGENTS": "false",
        }
        done = subprocess.run([*COMMAND, *args, "--json"], capture_output=True, env=environment, check=False, text=True)
        if not done.stdout:
            raise RuntimeError(f"loopwright {' '.join(args)}: {done.stderr}")
        return json.loads(done.stdout)

    def run(self, minutes: float, per_second: float) -> None:
        """The model goes down in each way for its share of the time, while workflows are started."""
        self.began, share_s = time.monotonic(), minutes * 60 / len(PHASES)
        with Producer(self.settings) as producer:
            for number, self.phase in enumerate(PHASES, 1):
                if self.phase == "refused":
                    self.model.stop()
                else:
                    self.model.behave(self.phase)
                    self.model.start()
                while time.monotonic() < self.began + number * share_s:
                    self._start(producer, int((time.monotonic() - self.began) * per_second))
                    self._look()
                    time.sleep(STEP_S)
                self.model.stop()

    def drain(self) -> float:
        """The model is well again: wait until every workflow has ended or is parked. Returns how long that took, in seconds."""
        self.phase, well = WELL, time.monotonic()
        self.model.behave(WELL)
        self.model.start()
        while time.monotonic() < well + DRAIN_S:
            sample = self._look()
            if sample is not None and sample.ended + sample.parked >= self.started:
                break
            time.sleep(STEP_S)
        return time.monotonic() - well

    def _start(self, producer: Producer, due: int) -> None:
        """Start workflows until there are `due`."""
        leads = {f"outage-{n}": {"name": f"Lead {n}", "email": f"lead{n}@engines.example", **LEAD} for n in range(self.started, due)}
        topic, at_ms = self.settings.topics.messages, now_ms()
        starts = [Message(w, schemas.STARTED, "/outage", w, {"document": lead}, time_ms=at_ms) for w, lead in leads.items()]
        producer.send_many([emitted(topic, start) for start in starts])
        self.started = max(self.started, due)

    def _look(self) -> Sample | None:
        """A sample, where ten seconds have passed since the last."""
        at_s, topics = int(time.monotonic() - self.began), self.settings.topics
        if self.samples and at_s < self.samples[-1].at_s + SAMPLE_S:
            return None
        messages = [read(record) for record in read_all(self.settings, [topics.messages])]
        parked = {m.workflow for m in messages if m.type == schemas.SETTLED and m.data["outcome"] == "park"}
        status = self.command("status")
        managers = [s["pid"] for s in status["services"] if s["name"].startswith("taskmanager") and s["pid"]]
        sample = Sample(
            at_s,
            self.phase,
            self.started,
            len({record.key for record in read_all(self.settings, [topics.decisions])}),
            len({record.key for record in read_all(self.settings, [topics.results])}),
            len(parked),
            lag_of(self.settings, "loopwright-messages", topics.messages),
            sum(psutil.Process(pid).memory_info().rss for pid in managers) // 2**20,
            round(status["job"]["checkpoint_age_s"] or -1.0, 1),
            len(self.model.questions),
        )
        self.samples.append(sample)
        sys.stderr.write(json.dumps(asdict(sample)) + "\n")
        return sample


def summary(outage: Outage, drained_s: float) -> dict[str, Any]:
    """What was seen, in one object."""
    proof, last = outage.command("verify"), outage.samples[-1]
    during = [sample for sample in outage.samples if sample.model != WELL]
    return {
        "started": outage.started,
        "ended": last.ended,
        "parked": last.parked,
        "drained_s": round(drained_s),
        "asked_while_down": during[-1].asked,
        "most_lag": max(sample.lag for sample in outage.samples),
        "resident_mib": [during[0].resident_mib, during[-1].resident_mib, max(sample.resident_mib for sample in during)],
        "oldest_checkpoint_s": max(sample.checkpoint_age_s for sample in outage.samples),
        "completed": proof["counts"].get("completed", 0),
        "verified": proof["holds"],
        "broken": proof["broken"][:5],
    }


def main() -> None:
    """Run an outage, and print what was seen."""
    parser = argparse.ArgumentParser(description="A model that is down for a while, on a real platform.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--per-second", type=float, default=5.0, help="workflows to start per second while the model is down")
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    model = ModelServer(port=port)
    with tempfile.TemporaryDirectory(prefix="loopwright-outage-") as folder:
        outage = Outage(Path(folder), model, f"http://127.0.0.1:{port}/v1")
        try:
            outage.command("up")
            outage.run(given.minutes, given.per_second)
            seen = summary(outage, outage.drain())
        finally:
            model.stop()
            outage.command("down")
    sys.stdout.write(json.dumps(seen, indent=2) + "\n")
    well = seen["verified"] and not seen["parked"] and seen["completed"] == seen["started"]
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
