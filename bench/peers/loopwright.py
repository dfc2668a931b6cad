"""Loopwright itself: the local platform as `loopwright up` starts it, with a team of five agents and no service of its own.

Kafka, the JobManager and one TaskManager run with their defaults (Python inside the TaskManager, a checkpoint every five seconds, each
decision written to Kafka before anything acts on it), but as JVMs that are to run for long. This process is a thin client: it writes
starts and counts results, nothing else.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from bench import stacks
from bench.peers.serving import Options, Peer, installed, run
from bench.workload import AGENTS, DESCRIPTIONS, FIELDS, MODEL, is_last, lead, output
from loopwright.cli.send import SendOptions, start_emit, start_message
from loopwright.cli.stack import at, stack_config
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.edges.platform.stack import Stack
from loopwright.schemas import WORKFLOW_COMPLETED
from loopwright.settings import Settings, read_settings
from loopwright.step import Emit

TEAM = "bench"
_TYPES: dict[type, str] = {dict: "object", list: "array", int: "integer", str: "string"}


def definitions(simulators: str) -> list[dict[str, Any]]:
    """The team. Each contract takes every document and promises a field of its own, so that the model has to choose at every hop."""
    fields = {name: {"type": _TYPES[type(value)]} for name, value in lead(0).items()}
    outputs = {agent: {name: {"type": _TYPES[type(value)]} for name, value in output(agent).items()} for agent in AGENTS}
    seen = {**fields, **{name: schema for one in outputs.values() for name, schema in one.items()}}
    return [
        {
            "name": agent,
            "team": TEAM,
            "version": 1,
            "description": DESCRIPTIONS[agent],
            "endpoint": f"{simulators}/agents/{agent}",
            "input": {"type": "object", "required": ["lead"], "properties": seen},
            "output": {"type": "object", "required": [FIELDS[agent]], "properties": outputs[agent]},
            "terminal": is_last(agent),
            "concurrency": 256,
        }
        for agent in AGENTS
    ]


def variables(simulators: str) -> dict[str, str]:
    """What the job is told: where the model is, and that it is asked before every hop, as it is by the other systems."""
    return {
        "LOOPWRIGHT_TEAM": TEAM,
        "LOOPWRIGHT_LLM_BASE_URL": f"{simulators}/v1",
        "LOOPWRIGHT_LLM_MODEL": MODEL,
        "LOOPWRIGHT_ROUTING__ASK_WHEN_ONLY_ONE": "true",
    }


def start(number: int, settings: Settings, now_ms: int) -> Emit:
    """The record that starts a lead's workflow."""
    return start_emit(start_message(lead(number), f"lead-{number}", SendOptions(team=TEAM), now_ms), settings)


def platform(home: Path, simulators: str) -> tuple[Settings, Stack]:
    """A platform in the folder `home`, on free ports. Writes the team's definitions there."""
    lasting = {"quick_start": False}  # as docs/performance.md recommends for what runs longer than minutes
    settings = read_settings(home=home / "state", team=TEAM, default_team_dir=home / "team", kafka={}, platform=lasting)
    settings.default_team_dir.mkdir(parents=True, exist_ok=True)
    for definition in definitions(simulators):
        (settings.default_team_dir / f"{definition['name']}.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    base = stack_config(settings)
    environment: Mapping[str, str] = {**base.environment, **variables(simulators)}
    return settings, Stack(replace(base, environment=environment, services=(), preferred={}))


class Loopwright(Peer):
    """Starts are written to agent-messages with acks=all, all that wait at once; results are read when somebody asks."""

    name = "loopwright"
    durable = True
    how = (
        "`loopwright up` with LOOPWRIGHT_PLATFORM__QUICK_START=false, as for all that runs longer than minutes: one TaskManager, thread "
        "mode, checkpoints every 5 s, each decision logged before it is acted on"
    )

    def __init__(self) -> None:
        self._stack: Stack | None = None
        self._waiting: list[tuple[Emit, asyncio.Future[None]]] = []
        self._news = asyncio.Event()

    def versions(self) -> dict[str, str]:
        """Loopwright, Flink, the Kafka client, and the runtime."""
        java = str(self._stack.java.version) if self._stack else ""
        return {**installed("loopwright", "apache-flink", "confluent-kafka"), "java": java}

    async def open(self, options: Options) -> None:
        """Start the platform, and wait until what it makes at its first start is made."""
        settings, self._stack = platform(options.home, options.simulators)
        self._settings = at(settings, await asyncio.to_thread(stacks.up, self._stack))
        self._producer = kafka.Producer(self._settings)
        self._writing = asyncio.create_task(self._write())

    async def start(self, lead: int) -> None:
        """Return when Kafka has acknowledged the start."""
        acknowledged = asyncio.get_running_loop().create_future()
        self._waiting.append((start(lead, self._settings, now_ms()), acknowledged))
        self._news.set()
        await acknowledged

    async def done(self) -> int:
        """Read the results, and count those that completed."""
        return await asyncio.to_thread(self._completed)

    async def close(self) -> None:
        """Take the platform down."""
        if self._stack is not None:
            await asyncio.to_thread(self._stack.down, wipe=True)

    async def _write(self) -> None:
        """Write what waits, all at once, for ever: while one batch is acknowledged the next gathers."""
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._producer.send_many, [emit for emit, _ in batch])
            except Exception as error:  # each start is told
                for _, acknowledged in batch:
                    acknowledged.set_exception(error)
            else:
                for _, acknowledged in batch:
                    acknowledged.set_result(None)

    def _completed(self) -> int:
        records = kafka.read_all(self._settings, [self._settings.topics.results])
        return len({record.key for record in records if record.headers.get("ce_type") == WORKFLOW_COMPLETED.encode()})


if __name__ == "__main__":
    sys.exit(run(Loopwright()))
