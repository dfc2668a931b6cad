"""What every JVM of the platform is started with: the environment, and the arguments before the main class."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.edges.platform.java import Java
from loopwright.edges.platform.layout import Layout

_DROPPED = {
    *("JAVA_HOME", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"),
    *("PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"),
    "PYTHON_LOOPBACK_SERVER_ADDRESS",  # a minicluster's, where its workers live in the process that started it
}
# a heap and compiled code of few pages, where the system has them: each page that the processor does not know costs a walk, on a virtual
# machine two, and with every change of threads it forgets some
_HUGE_PAGES = ("-XX:+UseTransparentHugePages",) if sys.platform == "linux" else ()


@dataclass(frozen=True, slots=True)
class Jvm:
    """A JVM to be: its name, heap and further flags, class path, main class, arguments, and its class archive where there is one."""

    name: str
    main: str
    classpath: Sequence[Path]
    flags: Sequence[str] = ()
    arguments: Sequence[str] = ()
    archive: Sequence[str] = field(default=())

    def args(self, java: Java, layout: Layout) -> list[str]:
        """The whole command line."""
        classpath = os.pathsep.join(map(str, self.classpath))
        return [
            str(java.executable),
            f"-Djava.io.tmpdir={layout.tmp}",
            f"-XX:ErrorFile={layout.logs}/hs_err_%p.log",
            "-XX:-UsePerfData",
            *_HUGE_PAGES,
            *self.archive,
            *self.flags,
            "-classpath",
            classpath,
            self.main,
            *self.arguments,
        ]


def tuning(quick: bool) -> tuple[str, ...]:
    """Compiler and collector flags of a service.

    `quick` compiles with the first compiler alone and collects serially: a third of the processor time until a job runs, at the price of
    peak throughput. Else both compilers, and the collector that the JVM itself chooses for the cores that it has.
    """
    return ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC") if quick else ()


def child_environment(
    environment: Mapping[str, str], java: Java, layout: Layout, python_paths: Sequence[Path] = (), extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a child: the caller's, cleaned of other Javas and Pythons.

    The folder of the base interpreter comes first on the PATH: the JVM that embeds Python asks `python3` there for its standard library,
    and a virtual environment's or a version switcher's `python3` gives the wrong one.
    """
    kept = {name: value for name, value in environment.items() if name not in _DROPPED}
    first = [str(Path(sys.base_prefix) / "bin"), str(java.home / "bin")]
    return {
        **kept,
        "PATH": os.pathsep.join([*first, kept.get("PATH", os.defpath)]),
        "JAVA_HOME": str(java.home),
        "PYTHONPATH": os.pathsep.join(map(str, python_paths)),
        "TMPDIR": str(layout.tmp),
        # glibc gives every few threads a heap of their own and hardly ever gives one back; a JVM with native code in it has a hundred
        "MALLOC_ARENA_MAX": kept.get("MALLOC_ARENA_MAX", "2"),
        **(extra or {}),
    }


def site_packages() -> Path:
    """The folder from which this interpreter imports pyflink."""
    import importlib.util

    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        return Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    return Path(spec.origin).parent.parent
