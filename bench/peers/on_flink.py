"""What the peers that run on Flink share: the same Kafka and Flink as Loopwright's local platform, with a job of their own.

These peers run in Loopwright's own environment, which has PyFlink.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import confluent_kafka as ck
import orjson

from bench import stacks
from bench.jobs.topics import DONE, KAFKA, WORK
from bench.peers.serving import ROOT, Peer
from bench.workload import lead
from loopwright.edges.kafka import TopicSpec
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.jars import Jar, Jars, locked
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.services import Endpoints
from loopwright.edges.platform.stack import Stack
from loopwright.errors import LoopwrightError
from loopwright.settings import read_settings

PARTITIONS = 4
SEND_S, ASK_S, JOB_S = 30.0, 5.0, 120.0


class WithJars(Stack):
    """A stack whose Flink has further jars on its class path."""

    further: tuple[Jar, ...] = ()

    @cached_property
    def jars(self) -> Jars:
        """The platform's, and these."""
        return Jars(self.cache, (*locked(), *self.further))


def stack_of(
    home: Path, script: Path, topics: tuple[str, ...], variables: Mapping[str, str], cluster: FlinkConfig, further: tuple[Jar, ...] = ()
) -> Stack:
    """Kafka with these topics and Flink with this job; the job finds the broker among its variables. JVMs that run fast."""

    def told(endpoints: Endpoints) -> Mapping[str, str]:
        return {KAFKA: endpoints.kafka, **variables}

    stack = WithJars(
        StackConfig(
            home=home / "platform",
            cache=read_settings().cache_dir(),
            environment=dict(os.environ),
            topics=tuple(TopicSpec(name, PARTITIONS) for name in topics),
            flink=cluster,
            job=Job(script),
            variables=told,
            python_paths=(ROOT,),
            folder=home,
            quick=False,
            supervisor=False,
        )
    )
    stack.further = further
    return stack


class Place:
    """A stack that is driven from an event loop: up, written to, counted, down."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._threads = ThreadPoolExecutor(4)
        self._producer: ck.Producer | None = None
        self._polling: asyncio.Task[None] | None = None

    async def up(self) -> str:
        """Start everything, and return where Kafka is. Raises LoopwrightError."""
        self.kafka = (await asyncio.to_thread(stacks.up, self._stack)).kafka
        await asyncio.to_thread(self._stack.jobs.wait_running, self._stack.jobs.noted(), JOB_S)
        self._producer = ck.Producer({"bootstrap.servers": self.kafka, "acks": "all", "enable.idempotence": True, "linger.ms": 0})
        self._reader = ck.Consumer({"bootstrap.servers": self.kafka, "group.id": "counting", "enable.auto.commit": False})
        self._polling = asyncio.create_task(self._poll())
        return self.kafka

    async def write(self, topic: str, value: bytes, key: bytes | None = None) -> None:
        """Write a record; returns once the broker has it. Raises KafkaException."""
        if self._producer is None:
            raise RuntimeError("up() comes first")
        loop = asyncio.get_running_loop()
        taken = loop.create_future()

        def told(error: ck.KafkaError | None, _message: object) -> None:
            if taken.done():
                return
            taken.set_result(None) if error is None else taken.set_exception(ck.KafkaException(error))

        self._producer.produce(topic, value, key, on_delivery=told)
        await asyncio.wait_for(taken, SEND_S)

    async def count(self, topic: str) -> int:
        """How many records a topic has had."""

        def ends() -> int:
            return sum(self._reader.get_watermark_offsets(ck.TopicPartition(topic, n), timeout=ASK_S)[1] for n in range(PARTITIONS))

        return await self.in_thread(ends)

    async def in_thread(self, work: Callable[[], int]) -> int:
        """Have something done that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def down(self) -> None:
        """End everything that was started."""
        if self._polling is not None:
            self._polling.cancel()
        with contextlib.suppress(LoopwrightError):
            await asyncio.to_thread(self._stack.jobs.retire, self._stack.jobs.noted())
        await asyncio.to_thread(self._stack.down, wipe=True)
        self._threads.shutdown(wait=False)

    async def _poll(self) -> None:
        """Have deliveries told: each is, within a millisecond of being known."""
        while self._producer is not None:
            self._producer.poll(0)
            await asyncio.sleep(0.001)


class PeerOnFlink(Peer):
    """A peer whose leads are written to one topic, and which is done with those in another. `open` sets `_place`."""

    _place: Place | None = None

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
