"""The platform that growth is measured on: its own state folder, free ports, the growth team, nothing else; and what feeds it."""

import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import requests

from bench.growth import outside, team
from bench.growth.figures import Checkpoint, checkpoints
from bench.parts import used_s
from bench.stacks import up
from loopwright.cli.send import SendOptions, start_emit, start_message
from loopwright.cli.stack import AGENTS, at, stack_config
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.edges.platform import broker, flink
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.services import Endpoints, Service
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import PlatformFailed
from loopwright.settings import Settings, read_settings
from loopwright.step import Emit
from loopwright.testing.soak.probe import collect, sample

REMEMBERED_MS = 10_000  # finished workflows are not what is measured
BATCH = 500
JOB_S, WORK_S = 300.0, 600.0
MIB = 1024 * 1024


def settings_of(home: Path) -> Settings:
    """Settings for the state folder `home`, whatever the environment names."""
    anywhere = "http://127.0.0.1:0"
    return read_settings(home=home, agents_url=anywhere, gateway_url=anywhere, kafka={}, team=team.NAME, default_team_dir=home / "team")


def config_of(settings: Settings, cluster: FlinkConfig) -> StackConfig:
    """The platform: Kafka, Flink, the job, and one process for the model and the agents. There is nobody who heals."""
    team.write(settings.default_team_dir)
    base = stack_config(settings)
    served = Service(AGENTS, lambda e: ["-m", outside.__name__, "--port", str(e.port(AGENTS))])

    def variables(endpoints: Endpoints) -> Mapping[str, str]:
        more = {
            "LOOPWRIGHT_LLM_BASE_URL": f"{endpoints.services[AGENTS]}/v1",
            "LOOPWRIGHT_LLM_MODEL": outside.MODEL,
            "LOOPWRIGHT_ROUTING__ASK_WHEN_ONLY_ONE": "true",
            "LOOPWRIGHT_LIMITS__IN_FLIGHT": str(2 * team.MOST_CALLS),
            "LOOPWRIGHT_LIMITS__DEDUPLICATION_MS": str(REMEMBERED_MS),
        }
        return {**base.variables(endpoints), **more}

    return replace(base, services=(served,), variables=variables, flink=cluster, preferred={}, supervisor=False, job_seconds=JOB_S)


@dataclass
class Place:
    """A platform that is up."""

    stack: Stack
    settings: Settings
    sent: int = 0

    def counts(self) -> dict[str, int]:
        """What the model and the agents were asked so far."""
        found: dict[str, int] = requests.get(f"{self.settings.agents_url}/counts", timeout=30).json()
        return found

    def arrivals(self) -> list[int]:
        """When they were asked since the last look, in ns since the epoch, ascending."""
        return sorted(requests.get(f"{self.settings.agents_url}/arrivals", timeout=60).json())

    def starts(self, kind: str, count: int) -> list[Emit]:
        """Records that start so many workflows, whose documents have the one field `kind`."""
        self.sent += count
        numbers = range(self.sent - count, self.sent)
        at_ms, options = now_ms(), SendOptions(team=team.NAME)
        return [start_emit(start_message({kind: n}, f"{kind}-{n}", options, at_ms), self.settings) for n in numbers]

    def bring(self, kind: str, total: int, seconds: float = WORK_S) -> None:
        """Start workflows of a kind until the agent `kind` has been called for `total`. Raises PlatformFailed where that does not come."""
        counted = outside.HOLDING if kind == team.HOLD else kind
        there = self.counts().get(counted, 0)
        with kafka.Producer(self.settings) as producer:
            for first in range(there, total, BATCH):
                count = min(BATCH, total - first)
                producer.send_many(self.starts(kind, count))
                self._until(lambda reached=first - 4 * BATCH: self.counts().get(counted, 0) >= reached, kind, seconds)  # type: ignore[misc]
            self._until(lambda: self.counts().get(counted, 0) >= total, kind, seconds)

    def _until(self, holds: Callable[[], bool], what: str, seconds: float) -> None:
        if wait_for(lambda: holds() or None, seconds) is None:
            why = f"{what}: {self.counts()} after {seconds:.0f} s"
            raise PlatformFailed("the workflows did not come as far as they should", why, f"read {self.stack.layout.logs}")

    @contextmanager
    def feed(self, send: "Feed") -> Iterator[None]:
        """Have workflows started in the background."""
        done = threading.Event()
        thread = threading.Thread(target=send, args=(self, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(60)

    def process(self, name: str) -> psutil.Process:
        """A part's process. Raises PlatformFailed where it does not run."""
        running = self.stack.processes.running(name)
        found = running.process() if running is not None else None
        if found is None:
            raise PlatformFailed(f"{name} does not run", "it ended while it was measured", f"read {self.stack.layout.logs}")
        return found

    def cpu_s(self) -> dict[str, float]:
        """Processor time of each part so far, with its children, in seconds."""
        found = {}
        for name in (*self.managers(), flink.JOB_MANAGER, broker.NAME, AGENTS):
            family = [self.process(name), *self.process(name).children(recursive=True)]
            found[name] = sum(sum(one.cpu_times()[:2]) for one in family)
        return found

    def threads_s(self) -> dict[str, float]:
        """Processor time of the TaskManagers so far by what their threads do, in seconds."""
        return used_s([self.process(name) for name in self.managers()])

    def managers(self) -> list[str]:
        """The TaskManagers."""
        return [name for name in self.stack.processes.names() if name.startswith(flink.TASK_MANAGER)]

    def memory(self, heap_mib: int) -> tuple[float, float]:
        """Bytes in use in the heap of the first TaskManager after a collection, and resident outside of it; the heap is resident whole."""
        pid = self.process(flink.task_manager(1)).pid
        java = self.stack.java.executable
        collected, resident = collect(java, pid, 0.0), sample(pid, 0.0)
        if collected is None or resident is None:
            raise PlatformFailed("the heap cannot be measured", f"jcmd beside {java} gave no answer", "use a runtime that has it")
        return collected.figures["heap"] * MIB, (resident.figures["resident"] - heap_mib) * MIB

    def checkpoints(self) -> dict[int, Checkpoint]:
        """The completed checkpoints that Flink remembers."""
        url = f"{self.stack.rest.url}/jobs/{self.stack.jobs.noted()}/checkpoints"
        return checkpoints(requests.get(url, timeout=30).json())


Feed = Callable[[Place, threading.Event], None]


def always_open(count: int) -> Feed:
    """A feed that keeps so many workflows of five stages open."""

    def run(place: Place, done: threading.Event) -> None:
        before, began = place.counts().get(outside.DONE, 0), place.sent
        with kafka.Producer(place.settings) as producer:
            while not done.is_set():
                room = count - (place.sent - began) + place.counts().get(outside.DONE, 0) - before
                if room > 0:
                    producer.send_many(place.starts(team.field(0), room))
                done.wait(0.01)

    return run


def every(seconds: float) -> Feed:
    """A feed that starts a workflow of five stages every so many seconds."""

    def run(place: Place, done: threading.Event) -> None:
        due = time.monotonic()
        with kafka.Producer(place.settings) as producer:
            while not done.wait(max(0.0, due - time.monotonic())):
                producer.send_many(place.starts(team.field(0), 1))
                due += seconds

    return run


@contextmanager
def place(home: Path, cluster: FlinkConfig) -> Iterator[Place]:
    """A platform in `home`, up; down again at the end. Its processes may have as many files open as the system allows."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings = settings_of(home)
    stack = Stack(config_of(settings, cluster))
    try:
        yield Place(stack, at(settings, up(stack)))
    finally:
        there = Stack(stack.config)
        there.jobs.retire(there.jobs.noted())  # no savepoint: nothing goes on from here
        there.down()
