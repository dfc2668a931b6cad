"""PyFlink's own async I/O: AsyncDataStream asks the model and calls the agent, and each hop goes once through Kafka."""

import platform
import sys

import orjson

from bench.jobs.topics import CAPACITY, DONE, SIMULATORS, WORK
from bench.peers.on_flink import Place, stack_of
from bench.peers.serving import ROOT, Options, Peer, installed, run
from bench.workload import lead
from loopwright.edges.platform.flink_config import FlinkConfig

SCRIPT = ROOT / "bench" / "jobs" / "async_datastream_job.py"


class AsyncDataStreamPeer(Peer):
    """A job by the documentation of Flink's async I/O, on the same broker and cluster as Loopwright's local platform."""

    name = "async_datastream"
    durable = True
    how = (
        f"AsyncDataStream.unordered_wait with capacity {CAPACITY}, checkpoints every 5 s, Kafka source and sink, bundles of 1 ms; "
        "in a Python worker, since it has no thread mode"
    )

    def __init__(self) -> None:
        self._place: Place | None = None

    def versions(self) -> dict[str, str]:
        """PyFlink, its HTTP client, and Python."""
        return {"python": platform.python_version(), **installed("apache-flink", "aiohttp")}

    async def open(self, options: Options) -> None:
        """Start Kafka, Flink and the job."""
        variables, cluster = {SIMULATORS: options.simulators}, FlinkConfig(execution_mode="process")
        self._place = Place(stack_of(options.home, SCRIPT, (WORK, DONE), variables, cluster))
        await self._place.up()

    async def start(self, lead_number: int) -> None:
        """Write the lead to the topic."""
        await self._there.write(WORK, orjson.dumps(lead(lead_number)), str(lead_number).encode())

    async def done(self) -> int:
        """How many documents are in the last topic."""
        return await self._there.count(DONE)

    async def close(self) -> None:
        """End everything."""
        if self._place is not None:
            await self._place.down()

    @property
    def _there(self) -> Place:
        if self._place is None:
            raise RuntimeError("open() comes first")
        return self._place


if __name__ == "__main__":
    sys.exit(run(AsyncDataStreamPeer()))
