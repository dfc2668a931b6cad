"""Services of the platform that are Python programs: the agents, the gateway, whatever a test needs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.waiting import failed, wait_for

STOP_DEADLINE_S = 15.0
_HEALTH_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything is: Kafka as `host:port`, Flink's REST API and each service as a URL. All are known before anything started."""

    kafka: str
    flink: str
    services: Mapping[str, str]

    def port(self, name: str) -> int:
        """The port of a service."""
        return int(self.services[name].rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Service:
    """A Python program with an HTTP health check.

    `arguments` follow the interpreter: `lambda e: ["-m", "pkg", "--port", str(e.port("x"))]`. `seconds` is how long it may take to start.
    """

    name: str
    arguments: Callable[[Endpoints], Sequence[str]]
    health: str = "/health"
    seconds: float = 40.0


def service_command(service: Service, endpoints: Endpoints, layout: Layout, environment: Mapping[str, str], folder: Path) -> Command:
    """How a service is started. Its log is `logs/<name>.log`."""
    args = [sys.executable, *service.arguments(endpoints)]
    ports = {service.name: endpoints.port(service.name)}
    return Command(service.name, args, environment, folder, layout.log(service.name), ports, endpoints.services[service.name])


def wait_healthy(service: Service, endpoints: Endpoints, processes: Processes, layout: Layout) -> None:
    """Return when the service is healthy; raise PlatformFailed with the end of its log otherwise."""
    url = endpoints.services[service.name] + service.health

    def probe() -> str | None:
        running = processes.running(service.name)
        if running is None:
            return "the process ended"
        return "ready" if running.listens(endpoints.port(service.name)) and healthy(url) else None

    said = wait_for(probe, service.seconds)
    if said != "ready":
        raise failed(
            f"{service.name} did not start", said or f"{url} is not healthy after {service.seconds:.0f} s", layout.log(service.name)
        )


def healthy(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        return requests.get(url, timeout=_HEALTH_TIMEOUT_S).status_code == 200
    except requests.RequestException:
        return False
