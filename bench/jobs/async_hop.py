"""One hop in an async function: ask the model, call the agent, give back the document with its fields."""

from typing import Any

import orjson
from pyflink.datastream.functions import AsyncFunction, RuntimeContext

from bench.peers.serving import Calls
from bench.workload import HOPS, hop


class Hop(AsyncFunction):  # type: ignore[misc]  # pyflink is untyped
    """Takes and gives a document as JSON. Errors are left to Flink: the job fails over, and the records are read again."""

    def __init__(self, simulators: str) -> None:
        self._simulators = simulators
        self._calls: Calls | None = None

    def open(self, runtime_context: RuntimeContext) -> None:  # noqa: ARG002  # the interface
        """No client yet: it belongs to the event loop of the calls."""
        self._calls = None

    async def async_invoke(self, value: str) -> list[str]:
        """Do one hop."""
        if self._calls is None:
            self._calls = Calls(self._simulators)
            await self._calls.open()
        document: dict[str, Any] = orjson.loads(value)
        agent = await self._calls.decide(document)
        document |= await self._calls.call(agent, document)
        return [orjson.dumps(document).decode()]


def ended(value: str) -> bool:
    """Whether a document has come to its end."""
    return hop(orjson.loads(value)) > HOPS


def goes_on(value: str) -> bool:
    """Whether it has not."""
    return not ended(value)
