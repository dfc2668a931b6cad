"""Flink's programs as JVMs on this machine: the command line and the environment of each.

Flink's own scripts are left aside: they would start two further JVMs merely to calculate memory sizes, and keep pid files of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.edges.platform.flink_home import FlinkHome
from loopwright.edges.platform.java import Java
from loopwright.edges.platform.jvm import Jvm, child_environment, tuning
from loopwright.edges.platform.layout import Layout

SQL_CLIENT_MAIN = "org.apache.flink.table.client.SqlClient"
Archive = Callable[[str, Sequence[Path]], Sequence[str]]
Program = tuple[list[str], dict[str, str]]


def no_archive(_name: str, _classpath: Sequence[Path]) -> Sequence[str]:
    """No flags."""
    return ()


@dataclass(frozen=True, slots=True)
class FlinkPrograms:
    """The programs of the distribution `home`, with the configuration in `layout.conf`. `given` is the environment that theirs is made of,
    `python_paths` are what their Python imports from; `archive` gives JVM flags for a program's name."""

    layout: Layout
    java: Java
    home: FlinkHome
    given: Mapping[str, str]
    python_paths: Sequence[Path] = ()
    archive: Archive = field(default=no_archive)

    def client(self, main: str, *arguments: str) -> Program:
        """A short-lived client."""
        return self.jvm("client", main, self._client_flags("client"), list(arguments)).args(self.java, self.layout), self.environment()

    def sql_client(self, jars: Sequence[Path], *arguments: str) -> Program:
        """Flink's SQL client; `jars` are what it needs beside the distribution."""
        classpath = (*self.home.classpath(), *sorted(self.home.folder.joinpath("opt").glob("flink-sql-client*.jar")), *jars)
        jvm = Jvm("sql-client", SQL_CLIENT_MAIN, classpath, [*self.home.java_options(), *self._client_flags("sql-client")], arguments)
        return jvm.args(self.java, self.layout), self.environment()

    def jvm(self, name: str, main: str, flags: Sequence[str], arguments: Sequence[str]) -> Jvm:
        """Any other."""
        classpath = self.home.classpath()
        return Jvm(name, main, classpath, [*self.home.java_options(), *flags], arguments, self.archive(name, classpath))

    def logging(self, name: str, file: str = "log4j.properties") -> list[str]:
        """The flags by which it logs to the file of its name."""
        return [f"-Dlog.file={self.layout.log(name)}", f"-Dlog4j.configurationFile={(self.layout.conf / file).as_uri()}"]

    def environment(self) -> dict[str, str]:
        """The environment of each."""
        flink = self.home.environment(self.layout.conf, self.layout.logs)
        return child_environment(self.given, self.java, self.layout, self.python_paths, flink)

    def _client_flags(self, name: str) -> list[str]:
        return ["-Xmx512m", *tuning(True), *self.logging(name, "log4j-cli.properties")]
