"""Submits the job to the cluster of docker/compose.yaml: once, and from where it was when the cluster stopped.

    submit.py [--from SAVEPOINT]    nothing where a job runs; else from SAVEPOINT, or the newest checkpoint or savepoint on the volume

The cluster is the one in Flink's configuration. `LOOPWRIGHT_STATE__*` and `LOOPWRIGHT_PLATFORM__PARALLELISM` are the job's.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from loopwright.edges.platform.code import JOB
from loopwright.edges.platform.flink_config import folders, state_options
from loopwright.edges.platform.flink_rest import FINAL, FlinkRest
from loopwright.edges.platform.jobs import Jobs
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.processes import Processes
from loopwright.edges.platform.restoring import damage
from loopwright.errors import LoopwrightError
from loopwright.settings import Settings, read_settings

FLINK = Path("/opt/flink/bin/flink")


def newest(layout: Layout, rest: FlinkRest) -> str:
    """The URI of the newest checkpoint or savepoint on the volume that is whole; empty where there is none."""
    points = Jobs(layout, rest, Processes(layout.run), lambda *_: ([], {}), layout.home).resume_points()
    return next((point.as_uri() for point in points if not damage(point)), "")


def arguments(settings: Settings, layout: Layout, point: str) -> list[str]:
    """The command line of Flink's client; `point` is what to start from."""
    elsewhere = settings.state.checkpoints.rstrip("/")
    places = [f"{elsewhere}/{at.name}" if elsewhere else at.as_uri() for at in (layout.checkpoints, layout.savepoints)]
    options = {**state_options(settings.state.backend, settings.state.interval_ms), **folders(*places)}
    given = ["-p", str(settings.platform.parallelism), *(f"-D{name}={value}" for name, value in options.items())]
    return [str(FLINK), "run", "-d", *given, *(["-s", point] if point else []), "-py", str(JOB)]


def main() -> int:
    """Submit it. Exit code 0 also where a job runs already; else Flink's, or the error's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--from", dest="point", default="", help="URI of a savepoint or checkpoint")
    parser.add_argument("--rest", default="http://jobmanager:8081", help="Flink's REST API")
    options = parser.parse_args()
    try:
        settings, rest = read_settings(), FlinkRest(options.rest)
        running = [id_ for id_, state in rest.jobs().items() if state not in FINAL]
        if running:
            sys.stdout.write(f"job {running[0]} runs already\n")
            return 0
        layout = Layout.at(settings.home)
        point = options.point or newest(layout, rest)
        sys.stdout.write(f"submitting, {f'from {point}' if point else 'afresh: there is no checkpoint'}\n")
        sys.stdout.flush()
        return subprocess.run(arguments(settings, layout, point), check=False).returncode
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
