"""The schema registry of the local platform: Apicurio Registry, which has Confluent's API, its schemas and ids in a file (H2).

A schema is in the file before its id is given out: an id that were lost with a killed process would be given to another schema, and records
that name it would be read by that. The rule for subjects that have none of their own is BACKWARD; without that it would have none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loopwright.edges.platform.java import Java
from loopwright.edges.platform.jvm import Jvm, child_environment, tuning
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import HOST, Ports
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.services import healthy
from loopwright.edges.platform.waiting import failed, wait_for
from loopwright.edges.registry import API, LOCAL

NAME, MANAGEMENT = LOCAL, "registry-management"  # its metrics and health have a port of their own
HEALTH = f"{API}/schemas/types"
_STOP_DEADLINE_S = 15
# what its manifest asks for, which Java heeds where it is started by `-jar` alone
_MANIFEST = ("--add-opens=java.base/java.lang=ALL-UNNAMED", "--enable-native-access=ALL-UNNAMED")


@dataclass(frozen=True)
class RegistryServer:
    """One registry. `folder` is the unpacked archive, `java` must be of version 21; `environment` is what the process inherits."""

    layout: Layout
    java: Java
    folder: Path
    processes: Processes
    ports: Ports
    environment: Mapping[str, str]
    heap: str = "256m"
    quick: bool = True

    def start(self) -> str:
        """Start it unless it runs; return its address at once, before it answers."""
        if (running := self.processes.running(NAME)) is not None:
            return running.url
        for name in (NAME, MANAGEMENT):
            self.ports.settle(name, False)
        return self.processes.start(self.command()).url

    def command(self) -> Command:
        """How it is started, with the ports that are known."""
        known = self.ports.known()
        ports = {name: known.get(name, 0) for name in (NAME, MANAGEMENT)}
        flags = (f"-Xmx{self.heap}", *tuning(self.quick), *_MANIFEST, "-Djava.util.logging.manager=org.jboss.logmanager.LogManager")
        settings = tuple(f"-D{name}={value}" for name, value in server_settings(ports, self.layout.registry_data).items())
        jvm = Jvm(NAME, "io.quarkus.bootstrap.runner.QuarkusEntryPoint", [self.folder / "quarkus-run.jar"], (*flags, *settings))
        environment = child_environment(self.environment, self.java, self.layout)
        url = f"http://{HOST}:{ports[NAME]}"
        return Command(NAME, jvm.args(self.java, self.layout), environment, self.layout.home, self.layout.log(NAME), ports, url)

    def wait_ready(self, seconds: float) -> str:
        """Return its address when it answers; raise PlatformFailed with the end of its log otherwise."""

        def probe() -> str | None:
            running = self.processes.running(NAME)
            if running is None:
                return "the process ended"
            return running.url if running.listens(running.ports[NAME]) and healthy(running.url + HEALTH) else None

        said = wait_for(probe, seconds)
        if said is not None and said.startswith("http"):
            return said
        self.processes.stop(NAME, 1)
        raise failed("the schema registry did not start", said or f"it does not answer after {seconds:.0f} s", self.layout.log(NAME))

    def stop(self) -> bool:
        """Stop it; its schemas stay. True when it stopped by itself after SIGTERM."""
        return self.processes.stop(NAME, _STOP_DEADLINE_S)


def server_settings(ports: Mapping[str, int], data: Path) -> dict[str, str]:
    """Its settings: on this machine alone, a database in a file, few connections, and a rule for every subject."""
    return {
        "quarkus.http.host": HOST,
        "quarkus.http.port": str(ports[NAME]),
        "quarkus.management.host": HOST,
        "quarkus.management.port": str(ports[MANAGEMENT]),
        "quarkus.http.access-log.enabled": "false",
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": f"jdbc:h2:file:{data / 'registry'};DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0",
        "apicurio.datasource.jdbc.initial-size": "2",
        "apicurio.datasource.jdbc.min-size": "2",
        "apicurio.datasource.jdbc.max-size": "10",
        "apicurio.rules.global.compatibility": "BACKWARD",
    }
