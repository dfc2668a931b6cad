"""What the supervisor is told, and what it tells: two files in `run/`.

The plan holds the command of every part with its whole environment, so its owner alone can read it. The report says what was healed.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.processes import Command

SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Client:
    """How a job is submitted: the command line up to the client's own arguments, its environment, and the folder it works in."""

    args: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts in the order of their start; Flink's REST API (empty: no Flink); the job and how it is submitted (None: no job)."""

    home: Path
    parts: tuple[Command, ...]
    flink: str = ""
    job: Job | None = None
    client: Client | None = None
    job_seconds: float = 120.0

    def write(self) -> Path:
        """Write it to `run/supervisor.plan`, for its owner alone."""
        file = plan_file(Layout.at(self.home))
        _replace(file, json.dumps(asdict(self), default=str), 0o600)
        return file

    @classmethod
    def read(cls, file: Path) -> "Plan":
        """The plan in `file`. Raises OSError, ValueError, KeyError or TypeError where there is none."""
        said = json.loads(file.read_text())
        job, client = said["job"], said["client"]
        return cls(
            Path(said["home"]),
            tuple(_command(part) for part in said["parts"]),
            said["flink"],
            Job(**{**job, "script": Path(job["script"]), "python_files": tuple(map(Path, job["python_files"]))}) if job else None,
            Client(tuple(client["args"]), client["environment"], Path(client["folder"])) if client else None,
            said["job_seconds"],
        )


def plan_file(layout: Layout) -> Path:
    """Where the plan is."""
    return layout.run / f"{SUPERVISOR}.plan"


def _command(said: dict[str, Any]) -> Command:
    return Command(**{**said, "folder": Path(said["folder"]), "log": Path(said["log"])})


@dataclass(frozen=True, slots=True)
class Healed:
    """What the supervisor did for a part or the job: how often it started it again, and why the last time; `given_up` says why it
    leaves the job alone (empty: it does not)."""

    restarts: int = 0
    why: str = ""
    given_up: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """By part; the job under `job`."""

    healed: Mapping[str, Healed] = field(default_factory=dict)

    def write(self, layout: Layout) -> None:
        """Write it to `run/supervisor.report`."""
        _replace(_report_file(layout), json.dumps(asdict(self), indent=2), 0o644)

    @classmethod
    def read(cls, layout: Layout) -> "Report":
        """The report in `run/`; empty where there is none, or none that can be read."""
        try:
            said = json.loads(_report_file(layout).read_text())["healed"]
            return cls({name: Healed(**healed) for name, healed in said.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()


def _report_file(layout: Layout) -> Path:
    return layout.run / f"{SUPERVISOR}.report"


def _replace(file: Path, text: str, mode: int) -> None:
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as opened:
        opened.write(text)
    fresh.replace(file)
