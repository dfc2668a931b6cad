"""What `submit`, `stop` and `upgrade` do: the settings and wishes become a release, which is sent to a cluster."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from loopwright.cli import show
from loopwright.edges.access import check_access
from loopwright.edges.kafka import bootstrap_servers
from loopwright.edges.platform import worker_environment
from loopwright.edges.platform.code import JOB_NAME
from loopwright.edges.platform.flink_config import FlinkConfig, folders, job_options
from loopwright.edges.platform.flink_home import lay_out
from loopwright.edges.platform.flink_programs import FlinkPrograms
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.jvm import site_packages
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.releases import Release
from loopwright.edges.platform.remote import FLINK, Remote, url_of
from loopwright.edges.platform.topics import make_topics
from loopwright.edges.topics import topic_specs
from loopwright.errors import Conflict, InvalidSettings, PlatformFailed
from loopwright.settings import Settings, read_settings

_TOPICS_S = 30.0
_OURS = "LOOPWRIGHT_"
_NOT_THE_JOBS = ("LOOPWRIGHT_HOME", "LOOPWRIGHT_CACHE", "LOOPWRIGHT_PLATFORM__", "LOOPWRIGHT_GATEWAY_TOKENS_FILE", "LOOPWRIGHT_AGENT_STORE")


@dataclass(frozen=True, slots=True)
class Wish:
    """Where the job is to run, and how. `mode` is `thread` or `process`; `python` is a path on the workers, empty where one is sent along;
    what is empty or None otherwise is not said. `options` are Flink's."""

    target: str
    parallelism: int | None = None
    mode: str = ""
    python: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def settled(self, before: Mapping[str, str]) -> "Wish":
        """The same with everything said: as the release with these options had it, where that is not empty.

        A Python that is sent goes with its job, and a TaskManager in thread mode keeps the first that it loads: so the mode is `process`.
        """
        own = "" if "python.archives" in before else before.get("python.executable", "")
        python = own if self.python is None else self.python
        mode = self.mode or before.get("python.execution-mode") or ("thread" if python else "process")
        return replace(self, parallelism=self.parallelism or int(before.get("parallelism.default", 1)), mode=mode, python=python)


def submit(wish: Wish, from_point: str, as_json: bool) -> int:
    """Submit the job. Raises Conflict where it runs there already."""
    settings = read_settings()
    with _remote(settings, wish.target, as_json) as remote:
        if found := remote.rest.named(JOB_NAME):
            remedy = "`loopwright upgrade` puts this release in its place, `loopwright stop` ends it"
            raise Conflict("the job runs there already", f"{remote.url}: {', '.join(found)}", remedy)
        release = _release(remote, settings, wish.settled({}))
        try:
            job = remote.submit(release, _uri(from_point))
        except PlatformFailed:
            remote.releases.drop(release)
            raise
    return _told({"job": job, "code": release.digest, "target": remote.url}, f"job {job} runs at {remote.url}", as_json)


def stop(target: str, job: str, into: str | None, as_json: bool) -> int:
    """Stop the job with a savepoint in the folder `into` (empty: the cluster's own), or, where that is None, without one."""
    with _remote(read_settings(), target, as_json) as remote:
        id_ = remote.running(job)
        point = remote.stop(id_, _uri(into)) if into is not None else ""
        if into is None:
            remote.cancel(id_)
    said = (
        f"job {id_} stopped; go on with `loopwright submit --target {target} --from-savepoint {point}`" if point else f"job {id_} cancelled"
    )
    return _told({"job": id_, "savepoint": point or None}, said, as_json)


def upgrade(wish: Wish, job: str, into: str, seconds: float, as_json: bool) -> int:
    """Put this release in the place of the one that runs. Raises PlatformFailed where it was rolled back."""
    settings = read_settings()
    with _remote(settings, wish.target, as_json) as remote:
        before, current = remote.running(job), remote.releases.current()
        release = _release(remote, settings, wish.settled(current.options if current else {}))
        try:
            id_, point = remote.upgrade(release, before, _uri(into), seconds)
        except Exception:
            remote.releases.drop(release)
            raise
    found = {"job": id_, "before": before, "code": release.digest, "savepoint": point, "target": remote.url}
    return _told(found, f"job {id_} runs at {remote.url} in the place of {before}, from {point}", as_json)


@contextmanager
def _remote(settings: Settings, target: str, as_json: bool) -> Iterator[Remote]:
    """The cluster; what is done is shown on stderr as it is done."""
    screen = show.console(stderr=True)

    def tell(said: str) -> None:
        if not as_json:
            screen.print(said, style="dim", markup=False, highlight=False)

    def programs(layout: Layout, code: Path) -> FlinkPrograms:
        cache = settings.cache_dir().resolve()
        jars = Jars(cache)
        jars.sync()
        home = lay_out(site_packages() / "pyflink", jars.paths("flink"), cache)
        given = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return FlinkPrograms(layout, find_java(os.environ), home, given, (code, site_packages()))

    yield Remote(url_of(target), Layout.at(settings.home).home, programs, tell)


def _release(remote: Remote, settings: Settings, wish: Wish) -> Release:
    """The release that the wish means, once it is known that the cluster is fit for it. Raises PlatformFailed, InvalidSettings."""
    fit = remote.fitness()
    if not fit.version.startswith(f"{FLINK}."):
        raise PlatformFailed("the cluster does not suit", f"it runs Flink {fit.version}", f"a cluster of Flink {FLINK} is needed")
    if not fit.has_python and wish.mode == "thread":
        remedy = "put flink-python from Flink's opt/ into lib/ on every machine and start the cluster anew, or submit with --mode process"
        raise PlatformFailed("the cluster does not suit", "flink-python is not on its class path; thread mode can load it but once", remedy)
    if not (fit.has_checkpoints or settings.state.checkpoints or "execution.checkpointing.dir" in wish.options):
        remedy = "configure it there, or set LOOPWRIGHT_STATE__CHECKPOINTS to the URI of a folder that every machine reaches"
        raise PlatformFailed(
            "the cluster does not suit", "it has no execution.checkpointing.dir: a lost JobManager would lose the state", remedy
        )
    check_access(settings)
    make_topics(bootstrap_servers(settings), topic_specs(settings), _TOPICS_S, own=False)
    jars: Sequence[Path] = [] if fit.has_kafka else Jars(settings.cache_dir().resolve()).paths("flink")
    return remote.releases.new(_options(settings, wish, jars), _variables(settings))


def _options(settings: Settings, wish: Wish, jars: Sequence[Path]) -> dict[str, str]:
    """The job's options of Flink."""
    mode: Literal["thread", "process"] = "thread" if wish.mode == "thread" else "process"
    config = FlinkConfig(execution_mode=mode, checkpoint_interval_ms=settings.state.interval_ms, state_backend=settings.state.backend)
    return {
        "parallelism.default": str(wish.parallelism),
        **job_options(config),
        **_folders(settings),
        **(_own_python(wish.python) if wish.python else _sent_python(settings)),
        "python.client.executable": sys.executable,
        **({"pipeline.jars": ";".join(jar.resolve().as_uri() for jar in jars)} if jars else {}),
        **wish.options,
    }


def _folders(settings: Settings) -> dict[str, str]:
    """Where checkpoints and savepoints go; the cluster's own configuration says so where the settings do not."""
    root = settings.state.checkpoints.rstrip("/")
    return folders(f"{root}/checkpoints", f"{root}/savepoints") if root else {}


def _sent_python(settings: Settings) -> dict[str, str]:
    """A Python that is sent along."""
    archive = worker_environment.packed(settings.cache_dir().resolve())
    return {"python.archives": f"{archive}#{worker_environment.NAME}", "python.executable": worker_environment.PYTHON}


def _own_python(path: str) -> dict[str, str]:
    """The workers' own. In thread mode the interpreter inside the JVM is told where its packages are: beside it, as everywhere."""
    packages = PurePosixPath(path).parent.parent / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    return {"python.executable": path, "python.pythonpath": str(packages)}


def _variables(settings: Settings) -> dict[str, str]:
    """The settings of the job, as variables. Raises InvalidSettings where one of them is a secret, which would stand in the job's graph."""
    if settings.llm_api_key.get_secret_value():
        why = "with LOOPWRIGHT_LLM_API_KEY the key would stand in the job's graph, for everybody who may see the cluster"
        remedy = "put it into a file on the workers, and name that in LOOPWRIGHT_LLM_API_KEY_FILE"
        raise InvalidSettings("the model's key cannot be sent along", why, remedy)
    kept = {name: value for name, value in os.environ.items() if name.startswith(_OURS) and not name.startswith(_NOT_THE_JOBS)}
    return {**kept, "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers(settings)}


def _uri(path: str) -> str:
    """A path as the URI that Flink takes; a URI as it is."""
    return Path(path).resolve().as_uri() if path and "://" not in path and not path.startswith("file:") else path


def _told(found: Mapping[str, object], said: str, as_json: bool) -> int:
    if as_json:
        show.print_json({"ok": True, **found})
    else:
        show.console().print(said, markup=False, soft_wrap=True)
    return 0
