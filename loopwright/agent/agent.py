"""An agent: its definition, its two contracts, and the function that does the work."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from loopwright.agent.task import Task
from loopwright.errors import InvalidDefinition
from loopwright.registry.catalogue import Agent as Compiled
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.loading import load_one
from loopwright.settings import read_settings

Output = Mapping[str, Any]
Handler = Callable[[Task], Output] | Callable[[Task], Awaitable[Output]]
MOST_THREADS = 32


class Agent:
    """A definition that is given a handler.

    `definition` is a definition or the YAML file that holds it; `variables` fill the `${NAME}` in its endpoint (default: the settings').
    Raises InvalidDefinition with everything that is wrong in the file.
    """

    def __init__(self, definition: AgentDefinition | Path | str, variables: Mapping[str, str] | None = None) -> None:
        if not isinstance(definition, AgentDefinition):
            definition = load_one(Path(definition), read_settings().variables() if variables is None else variables)
        compiled = Compiled.of(definition)
        self.definition = definition
        self.input = compiled.input
        self.output = compiled.output
        self._handler: Handler | None = None
        self._threads: ThreadPoolExecutor | None = None

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.definition.name

    @property
    def path(self) -> str:
        """Where the agent is served: the path of its endpoint."""
        return urlsplit(self.definition.endpoint).path or "/"

    def handler(self, function: Handler) -> Handler:
        """Register the function that does the work (a decorator). It may be `async def`; a plain `def` runs in a thread."""
        if self._handler is not None:
            raise InvalidDefinition(f"{self.name} has two handlers", f"{_named(self._handler)} and {_named(function)}", "keep one of them")
        self._handler = function
        return function

    def check(self) -> None:
        """Raise InvalidDefinition where no handler is registered."""
        if self._handler is None:
            raise InvalidDefinition(
                f"{self.name} has no handler", "no function is registered", f"put @{self.name.replace('-', '_')}.handler over one"
            )

    async def run(self, task: Task) -> Output:
        """Do the work: what the handler gives, unchecked. Raises what the handler raises."""
        self.check()
        if inspect.iscoroutinefunction(self._handler):
            return cast(Output, await self._handler(task))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(min(self.definition.concurrency, MOST_THREADS), thread_name_prefix=self.name)
        made = await asyncio.get_running_loop().run_in_executor(self._threads, cast(Callable[[Task], Output], self._handler), task)
        return cast(Output, await made) if inspect.isawaitable(made) else made


def _named(function: object) -> str:
    return str(getattr(function, "__qualname__", function))
