"""The SQL reference design: Flink SQL's ML_PREDICT routes, and a sink connector calls the agents.

The connector is played by this process: it reads the routed messages, POSTs each to its agent, writes the answered document back, and only
then lets its offset be committed, every five seconds (at least once), as an HTTP sink of Kafka Connect does.
"""

import asyncio
import contextlib
import platform
import sys
import threading
from dataclasses import replace
from typing import Any

import aiohttp
import confluent_kafka as ck
import orjson

from bench.jobs.offsets import Offsets
from bench.jobs.topics import CAPACITY, DONE, ROUTED, SIMULATORS, WORK
from bench.peers.on_flink import PeerOnFlink, Place, stack_of
from bench.peers.serving import ROOT, Calls, Options, installed, run
from bench.workload import is_last
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.jars import locked

JOBS = ROOT / "bench" / "jobs"
FURTHER = tuple(replace(jar, group="flink") for jar in locked() if jar.group == "model")  # on the cluster's class path
COMMIT_S, POLL_S, AGAIN_S = 5.0, 0.5, 1.0


class Connector:
    """Calls the agents of the routed messages."""

    def __init__(self, place: Place, calls: Calls) -> None:
        self._place, self._calls, self._offsets = place, calls, Offsets()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = threading.Event()

    def begin(self) -> None:
        """Read from now on, in a thread of its own: the client blocks."""
        wanted = {"group.id": "connector", "enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 500}
        self._consumer = ck.Consumer({"bootstrap.servers": self._place.kafka, **wanted})
        self._consumer.subscribe([ROUTED])
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self._committing = asyncio.create_task(self._commit())

    async def end(self) -> None:
        """Stop."""
        self._ended.set()
        self._committing.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self._thread.join)
        self._consumer.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            message = self._consumer.poll(POLL_S)
            if message is not None and message.error() is None:
                at = int(message.partition() or 0), int(message.offset() or 0)
                self._loop.call_soon_threadsafe(self._take, at, bytes(message.key() or b""), bytes(message.value() or b""))

    def _take(self, at: tuple[int, int], agent: bytes, value: bytes) -> None:
        self._offsets.taken(*at)
        task = asyncio.create_task(self._work(at, agent.decode(), orjson.loads(value)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, at: tuple[int, int], agent: str, document: dict[str, Any]) -> None:
        document |= await self._answered(agent, document)
        await self._place.write(DONE if is_last(agent) else WORK, orjson.dumps(document), str(document["lead"]).encode())
        self._offsets.finished(*at)

    async def _answered(self, agent: str, document: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                return await self._calls.call(agent, document)
            except aiohttp.ClientError:
                await asyncio.sleep(AGAIN_S)

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            safe = [ck.TopicPartition(ROUTED, partition, offset) for partition, offset in self._offsets.safe().items()]
            if safe:
                self._consumer.commit(offsets=safe, asynchronous=True)


class MlPredict(PeerOnFlink):
    """CREATE MODEL and ML_PREDICT on the same broker and cluster as Loopwright's local platform."""

    name = "ml_predict"
    durable = True
    how = (
        f"CREATE MODEL (openai) and ML_PREDICT, asynchronous and unordered with {CAPACITY} concurrent operations, checkpoints every 5 s; "
        "agents are called by a Kafka consumer, as an HTTP sink connector would"
    )

    def __init__(self) -> None:
        self._connector: Connector | None = None

    def versions(self) -> dict[str, str]:
        """PyFlink (which brings Flink), the jars on top, and Python."""
        jars = {jar.coordinate.split(":")[1]: jar.coordinate.split(":")[2] for jar in FURTHER}
        return {"python": platform.python_version(), **installed("apache-flink"), **jars}

    async def open(self, options: Options) -> None:
        """Start Kafka, Flink, the job and the connector."""
        variables: dict[str, Any] = {SIMULATORS: options.simulators}
        stack = stack_of(options.home, JOBS / "ml_predict_job.py", (WORK, ROUTED, DONE), variables, FlinkConfig(), FURTHER)
        self._place, self._calls = Place(stack), Calls(options.simulators)
        await self._place.up()
        await self._calls.open()
        self._connector = Connector(self._place, self._calls)
        self._connector.begin()

    async def close(self) -> None:
        """End everything."""
        if self._connector is not None:
            with contextlib.suppress(ck.KafkaException, RuntimeError):
                await self._connector.end()
            await self._calls.close()
        await super().close()


if __name__ == "__main__":
    sys.exit(run(MlPredict()))
