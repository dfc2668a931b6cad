"""Class archives (JVM class data sharing): the classes of each service, parsed and verified once, mapped at every later start.

The first run lists the classes it loads; after it stopped the archive is made from the list. With archives the platform starts with about
a third less processor time. An archive belongs to one Java and one class path; a JVM that finds it unfit runs without it.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from loopwright.edges.platform.java import Java

_DUMP_DEADLINE_S = 120
_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")


@dataclass(frozen=True)
class Archives:
    """The archives in `folder` (shared), and the class lists of runs without one in `lists` (of one state folder)."""

    folder: Path
    lists: Path
    java: Java

    def flags(self, name: str, classpath: Sequence[Path]) -> tuple[str, ...]:
        """JVM flags for the service `name` (`-2` and so on share the archive of `-1`): use it, or list the classes where there is none."""
        kind, _, number = name.partition("-")
        archive = self._archive(kind, classpath)
        if archive.is_file():
            return (f"-XX:SharedArchiveFile={archive}", *_QUIET)
        if number not in ("", "1"):
            return ()
        self.lists.mkdir(parents=True, exist_ok=True)
        return (f"-XX:DumpLoadedClassList={self._list(kind)}", *_QUIET)

    def lacking(self, services: Iterable[tuple[str, Sequence[Path]]]) -> list[tuple[str, Sequence[Path]]]:
        """The services (name, class path) that have a class list and no archive yet."""
        return [(n, c) for n, c in services if self._list(n).is_file() and not self._archive(n, c).is_file()]

    def make(self, services: Iterable[tuple[str, Sequence[Path]]]) -> list[str]:
        """Make the archives that are lacking, two at a time (each takes some seconds); return their names. A failure leaves none behind."""
        with ThreadPoolExecutor(2) as pool:
            made = pool.map(lambda one: one[0] if self._dump(*one) else "", self.lacking(services))
            return [name for name in made if name]

    def _dump(self, name: str, classpath: Sequence[Path]) -> bool:
        archive, listed = self._archive(name, classpath), self._list(name)
        archive.parent.mkdir(parents=True, exist_ok=True)
        fresh = archive.with_suffix(f".{os.getpid()}")
        kept = listed.with_suffix(".kept")
        kept.write_text("\n".join(loadable(listed.read_text(errors="replace").splitlines())) + "\n")
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
        listed.unlink(missing_ok=True)
        kept.unlink(missing_ok=True)
        if done is None or done.returncode != 0 or not fresh.is_file():
            fresh.unlink(missing_ok=True)
            return False
        fresh.replace(archive)
        return True

    def _list(self, name: str) -> Path:
        return self.lists / f"{name}.classes"

    def _archive(self, name: str, classpath: Sequence[Path]) -> Path:
        said = [str(self.java.home), str(self.java.executable.stat().st_mtime_ns)]
        for jar in classpath:
            found = jar.stat()
            said.append(f"{jar} {found.st_size} {found.st_mtime_ns}")
        key = hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
        return self.folder / f"{name}-{key}.jsa"


def loadable(lines: Iterable[str]) -> list[str]:
    """The lines of a class list that the application class loader can load again: those of other loaders (`source:`) are left out."""
    return [line for line in lines if "source:" not in line]
