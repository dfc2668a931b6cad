"""The platform that is tormented: one of its own, in a state folder of its own, on free ports, with slow agents and a fickle model."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from loopwright.cli.stack import AGENTS, GATEWAY, stack_config
from loopwright.clock import now_ms
from loopwright.edges.platform import broker, flink
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.processes import Started
from loopwright.edges.platform.services import Endpoints, Service
from loopwright.edges.platform.stack import Stack
from loopwright.settings import Settings, read_settings
from loopwright.testing.chaos import fickle_model, slow_agents
from loopwright.testing.chaos.recovery import Killed
from loopwright.testing.chaos.team import SDR, Team

MODEL, WORKER = "model", "python-worker"
JOB_S, GONE_S = 300.0, 1.0
PARTS = (flink.task_manager(1), flink.JOB_MANAGER, broker.NAME, AGENTS, GATEWAY)
# agents are never down for long, so a pause after their failures is not to be long either
VARIABLES = {"LOOPWRIGHT_LLM_FOR_AGENTS": "false", "LOOPWRIGHT_CIRCUIT__LONGEST_PAUSE_MS": "4000"}
HARD_TIMES = {"retry": {"attempts": 100, "initial": "200ms", "max": "2s"}, "concurrency": 256}


def own_settings(home: Path, team: Team = SDR) -> Settings:
    """Settings for the state folder `home`, with a broker, agents and a gateway of its own, whatever the environment names."""
    anywhere = "http://127.0.0.1:0"
    return read_settings(home=home, agents_url=anywhere, gateway_url=anywhere, kafka={}, team=team.name, default_team_dir=home / "team")


def tormented(
    settings: Settings, pause_s: float, cluster: FlinkConfig, more: Mapping[str, str] | None = None, team: Team = SDR
) -> StackConfig:
    """The platform of `settings`: agents that take about `pause_s` seconds for a call, and a model that answers differently each time.

    `more` are further variables for all processes. Writes the team's definitions into the state folder; those of the SDR team with a retry
    policy that outlasts any restart. Agents of a team of one's own are not started.
    """
    copy_team(team.folder, settings.default_team_dir, {} if team.own else HARD_TIMES)
    base = stack_config(settings)
    slow = Service(AGENTS, lambda e: ["-m", slow_agents.__name__, "--port", str(e.port(AGENTS)), "--pause-s", str(pause_s)])
    model = Service(MODEL, lambda e: ["-m", fickle_model.__name__, "--port", str(e.port(MODEL))], health="/v1/models")
    others = tuple(service for service in base.services if service.name != AGENTS)

    def variables(endpoints: Endpoints) -> Mapping[str, str]:
        model_url = f"{endpoints.services[MODEL]}/v1"
        return {**base.variables(endpoints), **VARIABLES, "LOOPWRIGHT_LLM_BASE_URL": model_url, **(more or {})}

    return replace(
        base, services=(*([] if team.own else [slow]), model, *others), variables=variables, flink=cluster, preferred={}, job_seconds=JOB_S
    )


def copy_team(folder: Path, into: Path, changes: Mapping[str, Any]) -> None:
    """Write the definitions of `folder` into `into`, each with these fields changed."""
    into.mkdir(parents=True, exist_ok=True)
    for file in sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml")):
        changed: dict[str, Any] = yaml.safe_load(file.read_text()) | dict(changes)
        (into / file.name).write_text(yaml.safe_dump(changed, sort_keys=False))


def parts_of(team: Team, process: bool) -> tuple[str, ...]:
    """What is killed: the agents where they are ours, the Python worker where there is one."""
    return tuple(part for part in PARTS if part != AGENTS or not team.own) + ((WORKER,) if process else ())


def kill(stack: Stack, part: str, in_flight: int) -> Killed | None:
    """SIGKILL for a part, and wait until it is gone. None where it does not run at this moment: it is being healed still."""
    manager = part if part != WORKER else flink.task_manager(1)
    running = stack.processes.running(manager)
    process = _worker(running) if part == WORKER else running.process() if running is not None else None
    if process is None:
        return None
    at_ms = now_ms()
    try:
        process.kill()
        process.wait(GONE_S)
    except psutil.NoSuchProcess:
        return None
    except psutil.TimeoutExpired:
        pass  # nobody has waited for it yet; it does nothing any more
    return Killed(part, process.pid, at_ms, now_ms(), in_flight)


def _worker(manager: Started | None) -> psutil.Process | None:
    """The Python worker of a TaskManager in process mode: the youngest of its Python processes."""
    process = manager.process() if manager is not None else None
    try:
        family = process.children(recursive=True) if process is not None else []
        workers = [child for child in family if "python" in child.name()]
        return max(workers, key=lambda child: child.create_time()) if workers else None
    except psutil.Error:
        return None
