"""PyFlink's own async I/O: AsyncDataStream asks the model and calls the agent, and each hop goes once through Kafka."""

import platform
import sys

from bench.jobs.topics import CAPACITY, DONE, SIMULATORS, WORK
from bench.peers.on_flink import PeerOnFlink, Place, stack_of
from bench.peers.serving import ROOT, Options, installed, run
from loopwright.edges.platform.flink_config import FlinkConfig

SCRIPT = ROOT / "bench" / "jobs" / "async_datastream_job.py"


class AsyncDataStreamPeer(PeerOnFlink):
    """A job by the documentation of Flink's async I/O, on the same broker and cluster as Loopwright's local platform."""

    name = "async_datastream"
    durable = True
    how = (
        f"AsyncDataStream.unordered_wait with capacity {CAPACITY}, checkpoints every 5 s, Kafka source and sink, bundles of 1 ms; "
        "in a Python worker, since it has no thread mode"
    )

    def versions(self) -> dict[str, str]:
        """PyFlink, its HTTP client, and Python."""
        return {"python": platform.python_version(), **installed("apache-flink", "aiohttp")}

    async def open(self, options: Options) -> None:
        """Start Kafka, Flink and the job."""
        variables, cluster = {SIMULATORS: options.simulators}, FlinkConfig(execution_mode="process")
        self._place = Place(stack_of(options.home, SCRIPT, (WORK, DONE), variables, cluster))
        await self._place.up()


if __name__ == "__main__":
    sys.exit(run(AsyncDataStreamPeer()))
