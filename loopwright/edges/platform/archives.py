"""Class archives (JVM class data sharing): the classes of each service, parsed and verified once, mapped at every later start.

The first run lists the classes it loads; once it is up, a process of the lowest priority makes the archives from these lists. With them
the platform takes about 30 % less processor time to start. An archive belongs to one Java and one class path; a JVM that finds it unfit
runs without it.

    python -m loopwright.edges.platform.archives PLAN     what that process runs; PLAN is a file that `plan` wrote
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopwright.edges.platform.java import Java

_DUMP_DEADLINE_S = 300
_UNUSED_S = 30 * 24 * 3600
_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")


@dataclass(frozen=True)
class Archives:
    """Archives lie beside the folder of the jars, and go with it; the class lists of runs without one in `lists` (of one state folder)."""

    lists: Path
    java: Java

    def flags(self, name: str, classpath: Sequence[Path]) -> tuple[str, ...]:
        """JVM flags for the service `name` (`-2` and so on share the archive of `-1`): use it, or list the classes where there is none."""
        kind, _, number = name.partition("-")
        archive = self._archive(kind, classpath)
        if archive.is_file():
            os.utime(archive)
            return (f"-XX:SharedArchiveFile={archive}", *_QUIET)
        if number not in ("", "1") or _failure(archive).exists():
            return ()
        self.lists.mkdir(parents=True, exist_ok=True)
        return (f"-XX:DumpLoadedClassList={self._list(kind)}", *_QUIET)

    def lacking(self, services: Iterable[tuple[str, Sequence[Path]]]) -> list[tuple[str, Sequence[Path]]]:
        """The services (name, class path) that have a class list and no archive yet."""
        return [(n, c) for n, c in services if self._list(n).is_file() and not self._archive(n, c).is_file()]

    def plan(self, services: Iterable[tuple[str, Sequence[Path]]]) -> Path:
        """Write down what a process of its own has to make; returns the file."""
        java = {"home": str(self.java.home), "version": self.java.version, "source": self.java.source}
        wanted = [[name, [str(jar) for jar in classpath]] for name, classpath in services]
        file = self.lists / "plan.json"
        file.write_text(json.dumps({"lists": str(self.lists), "java": java, "services": wanted}))
        return file

    def make(self, services: Iterable[tuple[str, Sequence[Path]]]) -> list[str]:
        """Make the archives that are lacking, one after the other (some seconds each); return their names. A failure leaves none behind."""
        return [name for name, classpath in self.lacking(services) if self._dump(name, classpath)]

    def _dump(self, name: str, classpath: Sequence[Path]) -> bool:
        archive, listed = self._archive(name, classpath), self._list(name)
        archive.parent.mkdir(parents=True, exist_ok=True)
        fresh = archive.with_suffix(f".{os.getpid()}")
        kept = listed.with_suffix(".kept")
        kept.write_text("".join(loadable(listed.read_text(errors="replace").splitlines(keepends=True))))
        args = [
            str(self.java.executable),
            "-Xshare:dump",
            "-XX:+UseSerialGC",
            f"-XX:SharedClassListFile={kept}",
            f"-XX:SharedArchiveFile={fresh}",
            "-Xlog:disable",
            "-classpath",
            os.pathsep.join(map(str, classpath)),
        ]
        try:
            done = subprocess.run(args, capture_output=True, timeout=_DUMP_DEADLINE_S, check=False, env={"LC_ALL": "C"})
        except (OSError, subprocess.TimeoutExpired):
            done = None
        kept.unlink(missing_ok=True)
        if done is None or done.returncode != 0 or not fresh.is_file():
            fresh.unlink(missing_ok=True)
            _failure(archive).touch()
            return False
        fresh.replace(archive)
        listed.unlink(missing_ok=True)
        _forget_unused(archive.parent)
        return True

    def _list(self, name: str) -> Path:
        return self.lists / f"{name}.classes"

    def _archive(self, name: str, classpath: Sequence[Path]) -> Path:
        said = [str(self.java.home), str(self.java.executable.stat().st_mtime_ns)]
        for jar in classpath:
            found = jar.stat()
            said.append(f"{jar} {found.st_size} {found.st_mtime_ns}")
        key = hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
        return classpath[0].parent.parent / "archives" / f"{name}-{key}.jsa"


def _forget_unused(folder: Path) -> None:
    """Remove archives that no platform has used for a month."""
    for archive in folder.glob("*.jsa"):
        if archive.stat().st_mtime < time.time() - _UNUSED_S:
            archive.unlink(missing_ok=True)


def _failure(archive: Path) -> Path:
    """A mark that this archive cannot be made: it is not tried again."""
    return archive.with_suffix(".failed")


def loadable(lines: Iterable[str]) -> list[str]:
    """Whole lines of a class list that the application class loader can load again: those of other loaders (`source:`) are left out."""
    return [line for line in lines if "source:" not in line and line.endswith("\n")]


def main(arguments: Sequence[str]) -> int:
    """Make what a plan says, at the lowest priority."""
    os.nice(19)
    said = json.loads(Path(arguments[0]).read_text())
    java = Java(Path(said["java"]["home"]), said["java"]["version"], said["java"]["source"])
    services = [(name, [Path(jar) for jar in classpath]) for name, classpath in said["services"]]
    made = Archives(Path(said["lists"]), java).make(services)
    sys.stdout.write(f"made: {', '.join(made) or 'none'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
