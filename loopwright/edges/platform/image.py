"""Flink in a container image: FLINK_HOME as the scripts of Flink and its Kubernetes operator expect it, configured for the job.

    python -m loopwright.edges.platform.image [--s3] FOLDER JARS     lay it out in FOLDER; connector jars are fetched into JARS

The image's steps (docker/build-steps.sh) call it. What differs from one deployment to the next (addresses, memory, where checkpoints lie)
is given to a container at its start; Flink's operator writes a configuration of its own in place of this one.
"""

import sys
from pathlib import Path

from loopwright.edges.platform.flink_config import FlinkConfig, cluster_options, write_configuration
from loopwright.edges.platform.flink_home import FlinkHome, fill
from loopwright.edges.platform.jars import Jars, locked
from loopwright.edges.platform.jvm import site_packages
from loopwright.edges.platform.layout import Layout
from loopwright.errors import InvalidSettings, LoopwrightError

PYTHON = Path("/opt/loopwright/bin/python")
DATA = Layout(Path("/var/lib/loopwright"))
PROMETHEUS = {
    "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
    "metrics.reporter.prom.port": "9249-9259",  # the first in a container of its own; several processes on one host take the next
}
# Python lives in the JVM's process, outside of its heap: what the JVM itself does not need of its overhead is Python's
MEMORY = {
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.jvm-metaspace.size": "512m",
    "taskmanager.memory.jvm-overhead.min": "896m",
    "taskmanager.memory.jvm-overhead.max": "896m",
}


def lay_out(folder: Path, jars: Path, s3: bool) -> FlinkHome:
    """Lay out FLINK_HOME in `folder`, with links to the jars of the package apache-flink and to those fetched into `jars`.

    `s3` adds Flink's plugin for checkpoints in an object store. Raises InvalidSettings where `folder` is not empty, and what fetching
    raises.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidSettings("Flink cannot be laid out there", f"{folder} is not empty", "name a folder that is, or that is not there")
    folder.mkdir(parents=True, exist_ok=True)
    further = ("s3",) if s3 else ()
    fetched = Jars(jars, tuple(jar for jar in locked() if jar.group in ("flink", *further)))
    fetched.sync(on_demand=further)
    wheel = site_packages() / "pyflink"
    plugins = {"metrics-prometheus": sorted(wheel.joinpath("plugins", "metrics-prometheus").glob("*.jar"))}
    if s3:
        plugins["s3-fs-presto"] = list(fetched.paths("s3"))
    fill(folder, wheel, fetched.paths("flink"), plugins)
    home = FlinkHome(folder)
    write_configuration(folder / "conf", image_options(home.java_options()))
    return home


def image_options(java_options: tuple[str, ...]) -> dict[str, str]:
    """The configuration of a container that is told nothing else: a JobManager of the name `jobmanager`, TaskManagers of two slots."""
    return {
        "jobmanager.rpc.address": "jobmanager",
        "jobmanager.bind-host": "0.0.0.0",  # noqa: S104
        "taskmanager.bind-host": "0.0.0.0",  # noqa: S104
        "rest.bind-address": "0.0.0.0",  # noqa: S104
        "rest.address": "jobmanager",
        "jobmanager.memory.process.size": "1g",
        "taskmanager.memory.process.size": "2560m",
        "taskmanager.numberOfTaskSlots": "2",
        # instances of an operator share a Python, and its lock, with those on the same TaskManager: spread them
        "taskmanager.load-balance.mode": "SLOTS",
        **MEMORY,
        **PROMETHEUS,
        **cluster_options(FlinkConfig(), str(PYTHON), DATA.checkpoints.as_uri(), DATA.savepoints.as_uri()),
        "env.java.opts.all": " ".join(java_options),
    }


def main(arguments: list[str]) -> int:
    """The command line. Exit code 0, or the error's."""
    rest = [argument for argument in arguments if argument != "--s3"]
    if len(rest) != 2:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        home = lay_out(Path(rest[0]), Path(rest[1]), s3="--s3" in arguments)
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"Flink is laid out in {home.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
