"""Kafka and connector jars, and archives, by lock file: `jars.lock` beside this module names each with its SHA-256.

    python -m loopwright.edges.platform.jars sync [CACHE]    fetch what is missing, less the sets that are fetched where they are wanted
    python -m loopwright.edges.platform.jars lock            resolve anew and write jars.lock

Jars are fetched through jgo from its default Maven repository, or from another one whose URL is given. Each is fetched into a folder of
its own and moved to the cache only when its SHA-256 is right, so a cache never holds half a jar. An archive (tar.gz) is unpacked beside it.
"""

import hashlib
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from loopwright.errors import LoopwrightError, NotFound, PlatformFailed, Unreachable

LOCK = Path(__file__).with_name("jars.lock")
WITH_CLOSURE = {
    "kafka": ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36"),
    "connect": ("org.apache.kafka:connect-runtime:4.3.1", "org.apache.kafka:connect-json:4.3.1", "org.slf4j:slf4j-simple:1.7.36"),
    "debezium": ("io.debezium:debezium-connector-postgres:3.6.1.Final",),
}
LEFT_OUT = {"debezium": ("org.apache.kafka", "org.slf4j")}  # a plugin of Kafka Connect has these from it
ALONE = {
    "flink": ("org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",),
    "sql-client": ("org.apache.flink:flink-sql-gateway:2.3.0",),  # the SQL client is one for it, and the wheel lacks it
    "model": ("org.apache.flink:flink-model-openai:2.3.0",),
    "postgresql": (
        "org.apache.flink:flink-connector-jdbc-core:4.0.0-2.0",
        "org.apache.flink:flink-connector-jdbc-postgres:4.0.0-2.0",
        "org.postgresql:postgresql:42.7.11",
    ),
    "registry": ("io.apicurio:apicurio-registry-app:tar.gz:all:3.3.3",),
    "s3": ("org.apache.flink:flink-s3-fs-presto:2.3.0",),  # checkpoints in an object store; Flink's advice for them is this one
    "parquet": (
        "org.apache.flink:flink-sql-parquet:2.3.0",
        "org.apache.hadoop:hadoop-client-api:3.4.2",
        "org.apache.hadoop:hadoop-client-runtime:3.4.2",
    ),
}
ON_DEMAND = frozenset({"connect", "debezium", "model", "parquet", "postgresql", "registry", "s3"})  # fetched where they are wanted
_PARALLEL = 8
_HTTP_TIMEOUT_S = 30
_ATTEMPTS = 3

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, order=True)
class Jar:
    """One jar: the set it belongs to, its Maven coordinate, and its SHA-256 in hex.

    The coordinate is `group:artifact:version`, or `group:artifact:packaging:classifier:version` for what is no plain jar.
    """

    group: str
    coordinate: str
    sha256: str

    @property
    def filename(self) -> str:
        """Its name in the cache."""
        _, artifact, packaging, classifier, version = _parts(self.coordinate)
        return f"{artifact}-{version}{classifier and f'-{classifier}'}.{packaging}"


def _parts(coordinate: str) -> tuple[str, str, str, str, str]:
    """Group, artifact, packaging, classifier (empty: none), version."""
    group, artifact, *middle, version = coordinate.split(":")
    packaging, classifier = middle or ("jar", "")
    return group, artifact, packaging, classifier, version


def read_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock file: a line each, `set coordinate sha256`. Raises PlatformFailed naming a line that is none."""
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 3 or parts[1].count(":") not in (2, 4) or len(parts[2]) != 64:
            remedy = f"restore the file, or write it anew: {_LOCK_COMMAND}"
            raise PlatformFailed("jars.lock cannot be read", f"line {number}: {line!r}", remedy)
        jars.append(Jar(*parts))
    return tuple(jars)


_LOCK_COMMAND = "python -m loopwright.edges.platform.jars lock"


def locked() -> tuple[Jar, ...]:
    """The jars of the lock file that comes with the package."""
    return read_lock(LOCK.read_text())


def _silent(_done: int, _of: int) -> None:
    """Report nothing."""


class Jars:
    """The jars in a cache folder."""

    def __init__(self, cache: Path, jars: tuple[Jar, ...] | None = None) -> None:
        self._folder = cache.expanduser().resolve() / "jars"
        self._jars = locked() if jars is None else jars

    def paths(self, group: str) -> tuple[Path, ...]:
        """The jars of a set, sorted by name."""
        return tuple(sorted(self._path(jar) for jar in self._jars if jar.group == group))

    def unpacked(self, group: str) -> Path:
        """The folder of a set that is one archive, unpacked there when it is first asked for. Raises PlatformFailed where it cannot be."""
        (archive,) = self.paths(group)
        folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
        if not folder.is_dir():
            try:
                with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as room:
                    with tarfile.open(archive) as opened:
                        opened.extractall(Path(room) / "content", filter="data")
                    (Path(room) / "content").rename(folder)
            except (OSError, tarfile.TarError) as error:
                if not folder.is_dir():  # else somebody else was quicker
                    raise PlatformFailed(f"{archive.name} cannot be unpacked", str(error), f"make room, or delete {archive}") from error
        return folder

    def wanted(self, on_demand: Iterable[str] = ()) -> tuple[Jar, ...]:
        """What every platform needs, and the sets `on_demand`. Raises NotFound for a set that there is not."""
        sets = set(on_demand)
        unknown = sets - {jar.group for jar in self._jars}
        if unknown:
            raise NotFound(f"there is no set of jars {min(unknown)!r}", "jars.lock has none", f"known are {', '.join(sorted(ON_DEMAND))}")
        return tuple(jar for jar in self._jars if jar.group not in ON_DEMAND or jar.group in sets)

    def missing(self, on_demand: Iterable[str] = ()) -> tuple[Jar, ...]:
        """What of it is not in the cache; sizes and sums are not looked at."""
        return tuple(jar for jar in self.wanted(on_demand) if not self._path(jar).is_file())

    def sync(self, told: Told | None = None, repository: str = "", on_demand: Sequence[str] = ()) -> int:
        """Fetch and check what is missing; return how many were fetched. Quick when nothing is missing and all was checked before.

        `told(done, of)` is called after each jar. Raises Unreachable (no network) and PlatformFailed (a wrong SHA-256).
        """
        missing, stamp = self.missing(on_demand), self._stamp(on_demand)
        if not missing and stamp.exists():
            return 0
        self._folder.mkdir(parents=True, exist_ok=True)
        self._check([jar for jar in self.wanted(on_demand) if jar not in missing])
        fetched = self.missing(on_demand)
        fetch_all(fetched, self._folder, told or _silent, repository)
        stamp.touch()
        return len(fetched)

    def folder(self, group: str) -> Path:
        """The folder of a set."""
        return self._folder / group

    def _stamp(self, on_demand: Sequence[str]) -> Path:
        """Present once these very jars were checked."""
        seal = "\n".join(f"{j.coordinate} {j.sha256}" for j in sorted(self.wanted(on_demand)))
        return self._folder / f".checked-{hashlib.sha256(seal.encode()).hexdigest()[:16]}"

    def _check(self, jars: Iterable[Jar]) -> None:
        """Drop what is damaged: it is fetched again."""
        for jar in jars:
            if sha256(self._path(jar)) != jar.sha256:
                self._path(jar).unlink()

    def _path(self, jar: Jar) -> Path:
        return self.folder(jar.group) / jar.filename


def fetch_all(jars: Iterable[Jar], folder: Path, told: Told, repository: str) -> None:
    """Fetch jars in parallel into `folder`/<set>/. The first error ends it; what was fetched by then stays."""
    wanted = tuple(jars)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        running = [pool.submit(_fetch, jar, folder, repository) for jar in wanted]
        try:
            for done, future in enumerate(as_completed(running), 1):
                future.result()
                told(done, len(wanted))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(jar: Jar, folder: Path, repository: str) -> None:
    target = folder / jar.group / jar.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as room:
        fetched = _resolve(jar.coordinate, Path(room), repository)
        found = sha256(fetched)
        if found != jar.sha256:
            raise PlatformFailed(
                f"{jar.coordinate} is not the jar that jars.lock names",
                f"SHA-256 is {found}, {jar.sha256} was expected",
                "try again; if it stays so, do not use that repository: what it serves was altered",
            )
        fetched.replace(target)


def _resolve(coordinate: str, room: Path, repository: str) -> Path:
    """One file through jgo, tried three times."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Path(_artifact(_context(room, repository), coordinate).resolve())
        except (requests.RequestException, OSError, RuntimeError) as error:
            shutil.rmtree(room, ignore_errors=True)
            room.mkdir(exist_ok=True)
            if attempt == _ATTEMPTS:
                raise _no_network(coordinate, error) from error
    raise AssertionError("unreachable")


def _artifact(context: Any, coordinate: str) -> Any:
    group, artifact, packaging, classifier, version = _parts(coordinate)
    return context.project(group, artifact).at_version(version).artifact(classifier, packaging)


def _no_network(coordinate: str, error: Exception) -> LoopwrightError:
    said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return Unreachable(
        f"{coordinate} cannot be fetched",
        said,
        "check the network (a proxy is taken from HTTPS_PROXY), then try again; jars that were fetched already are kept",
    )


def _context(room: Path, repository: str) -> Any:
    from jgo.maven import MavenContext

    remote: Mapping[str, Any] = {"remote_repos": {"given": repository.rstrip("/")}} if repository else {}
    return MavenContext(repo_cache=room, local_repos=[], timeout=_HTTP_TIMEOUT_S, **remote)


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_lock(file: Path = LOCK, repository: str = "") -> int:
    """Resolve the coordinates above anew, fetch every jar, and write the lock file. Returns the number of jars."""
    with tempfile.TemporaryDirectory(prefix="loopwright-jars-") as room:
        context = _context(Path(room), repository)
        closures = {group: _closure(context, names, LEFT_OUT.get(group, ())) for group, names in WITH_CLOSURE.items()}
        found = [(group, dep.artifact, "") for group, dependencies in closures.items() for dep in dependencies]
        found += [(group, _artifact(context, name), name) for group, names in ALONE.items() for name in names]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            jars = sorted(pool.map(lambda one: _seal(*one), found))
    lines = [f"{jar.group} {jar.coordinate} {jar.sha256}" for jar in jars]
    head = f"# Jars of the local platform: set, Maven coordinate, SHA-256. Written by `{_LOCK_COMMAND}`.\n"
    file.write_text(head + "\n".join(lines) + "\n")
    return len(jars)


def _closure(context: Any, names: Iterable[str], left_out: Iterable[str]) -> list[Any]:
    given, transitive = context.resolver.resolve([context.create_dependency(name) for name in names])
    wanted = [dep for dep in (*given, *transitive) if dep.scope in ("compile", "runtime", None)]
    return [dep for dep in wanted if dep.artifact.groupId not in set(left_out)]


def _seal(group: str, artifact: Any, coordinate: str) -> Jar:
    said = coordinate or f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
    return Jar(group, said, sha256(Path(artifact.resolve())))


def _counted(done: int, of: int) -> None:
    sys.stderr.write(f"\r{done} of {of} jars" + ("\n" if done == of else ""))


def main(arguments: list[str]) -> int:
    """The command line: `sync [CACHE]` or `lock`."""
    match arguments:
        case ["lock"]:
            sys.stdout.write(f"{write_lock()} jars in {LOCK.name}\n")
        case ["sync", *rest] if len(rest) <= 1:
            cache = Path(rest[0]) if rest else Path("~/.cache/loopwright")
            jars = Jars(cache)
            fetched = jars.sync(_counted)
            sys.stdout.write(f"{len(jars.wanted())} jars in {cache}, {fetched} fetched\n")
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LoopwrightError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(problem.exit_code)
