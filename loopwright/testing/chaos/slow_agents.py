"""The SDR agents, slowed and watched: `python -m loopwright.testing.chaos.slow_agents --port 8801 --pause-s 3`.

Every run of a handler is noted in `runs.jsonl` in the state folder, when it begins and when it is done: the witness for how often work
was done, which is independent of the Idempotency-Key store that is to prevent its being done twice.
"""

import argparse
import asyncio
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from agents.sdr.prompting import Prompter
from agents.sdr.serve import team
from loopwright.agent import Agent, Task, serve
from loopwright.agent.agent import Output
from loopwright.errors import LoopwrightError
from loopwright.settings import read_settings

RUNS = "runs.jsonl"
BEGUN, DONE = "begun", "done"


class Witness:
    """Notes that survive the process: each is one write to the end of the file."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, what: str, agent: str, task: Task) -> None:
        """Write a line."""
        os.write(self._file, orjson.dumps({"what": what, "agent": agent, "key": task.idempotency_key, "pid": os.getpid()}) + b"\n")


class WatchedAgent(Agent):
    """An agent that takes its time, and whose runs are noted."""

    def __init__(self, inner: Agent, witness: Witness, pause_s: float) -> None:
        super().__init__(inner.definition)
        self._inner, self._witness, self._pause_s = inner, witness, pause_s

    def check(self) -> None:
        """As the agent within."""
        self._inner.check()

    async def run(self, task: Task) -> Output:
        """Wait about `pause_s`, then do the work."""
        self._witness.note(BEGUN, self.name, task)
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # not a secret
        output = await self._inner.run(task)
        self._witness.note(DONE, self.name, task)
        return output


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop. Exit code 0, or the error's."""
    parser = argparse.ArgumentParser(description="The SDR agents, slowed and watched.")
    parser.add_argument("--port", type=int, default=8801)
    parser.add_argument("--pause-s", type=float, default=3.0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings()
        witness = Witness(settings.home / RUNS)
        prompter = Prompter(settings)
        watched = [
            WatchedAgent(agent, witness, options.pause_s) for agent in team(settings, prompter, (settings.home / "outbox").resolve())
        ]
        serve(watched, options.port, state=settings.home / "run" / "agents", closing=prompter.close)
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
