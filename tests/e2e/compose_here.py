"""Runs the services of a Compose file without Docker: in one root of the image, on a network of their own where all names are this host.

To be used in a network and process namespace that was made for it (`unshare --net --mount --pid --fork --kill-child`): ports are those of
the file, and when the namespace ends, so does all that runs in it.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from loopwright.edges import kafka
from loopwright.errors import LoopwrightError
from loopwright.settings import Kafka, Settings
from tests.e2e.debian_root import inside
from tests.e2e.dockerfile_here import Stage

KAFKA = "kafka"
_HEALTHY_S, _ONCE_S = 180, 180
_IFF_UP, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 1, 0x8913, 0x8914


def loopback_up() -> None:
    """Bring up the loopback device of a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        wanted = struct.pack("16sH14s", b"lo", 0, b"")
        (flags,) = struct.unpack_from("H", fcntl.ioctl(asked, _SIOCGIFFLAGS, wanted), 16)
        fcntl.ioctl(asked, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


def wait(what: str, probe: Callable[[], bool], seconds: float) -> None:
    """Return when `probe` is true."""
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.3)


@dataclass
class Composition:
    """The services of `said` (the Compose file as JSON) in the root of `image`. `work` holds volumes and logs; `java` and `jars` run Kafka,
    whose image is somebody else's."""

    image: Stage
    said: Mapping[str, Any]
    work: Path
    java: Path
    jars: Sequence[Path]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def prepare(self) -> None:
        """The network, the names, the volumes."""
        loopback_up()
        names = " ".join(["localhost", socket.gethostname(), *self.said["services"]])  # an engine names the container itself, too
        hosts = self.image.root / "etc" / "hosts"
        hosts.write_text(f"127.0.0.1 {names}\n")
        subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
        secrets = self.image.root / "run" / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        for name in self.said["secrets"]:
            (secrets / name).touch()

    def volume(self, name: str, target: str) -> Path:
        """The folder of a named volume; a new one has the owner of the image's folder there, as Docker has it."""
        folder = self.work / "volumes" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            found = (self.image.root / target.lstrip("/")).stat()
            os.chown(folder, found.st_uid, found.st_gid)
            folder.chmod(found.st_mode & 0o7777)
        return folder

    def command(self, service: str, command: Sequence[str], more: Sequence[tuple[Path | str, str, bool]] = ()) -> list[str]:
        """The command line that runs `command` as in a container of the service; `more` are further mounts."""
        said = self.said["services"][service]
        volumes = [one for one in said.get("volumes", []) if one["type"] == "volume"]
        mounts = [(self.volume(v["source"], v["target"]), v["target"], v.get("read_only", False)) for v in volumes if v.get("source")]
        tmpfs = [*said.get("tmpfs", []), *(one["target"] for one in volumes if not one.get("source"))]
        environment = self.image.environment | said["environment"] | {"HOSTNAME": service}
        return inside(
            self.image.root,
            command,
            environment,
            mounts=[*mounts, *more],
            tmpfs=tmpfs,
            user=self.image.user,
            folder=self.image.folder,
            read_only=said["read_only"],
        )

    def up(self, *names: str) -> None:
        """Start services and all that they depend on, each when what it waits for is as it wants it."""
        for name in names:
            if name in self.running:
                continue
            said = self.said["services"][name]
            self._up_before(name)
            if name == KAFKA:
                self._start_kafka()
            elif "healthcheck" in said:
                self.start(name, said["command"], said.get("deploy", {}).get("replicas", 1))
            elif name not in self.done:
                self.once(name)

    def once_after(self, name: str) -> str:
        """Run a service that ends, when what it depends on is up; return what it said."""
        self._up_before(name)
        return self.once(name)

    def _up_before(self, name: str) -> None:
        wanted = self.said["services"][name].get("depends_on", {})
        self.up(*wanted)
        for other, how in wanted.items():
            if how["condition"] == "service_healthy":
                wait(f"{other} is healthy", partial(self.healthy, other), _HEALTHY_S)

    def start(self, name: str, command: Sequence[str], replicas: int = 1, more: Sequence[tuple[Path | str, str, bool]] = ()) -> None:
        """Start containers of a service, which go on."""
        for number in range(1, replicas + 1):
            mark = name if number == 1 else f"{name}-{number}"
            with self.log(mark).open("ab") as log:
                line = self.command(name, [*self.image.entrypoint, *command], more)
                self.running[mark] = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def once(self, name: str) -> str:
        """Run a service that ends, and return what it said."""
        command = [*self.image.entrypoint, *self.said["services"][name]["command"]]
        done = subprocess.run(self.command(name, command), capture_output=True, text=True, check=False, timeout=_ONCE_S)
        assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-4000:]}{self.ends()}"
        self.done.add(name)
        return done.stdout

    def execute(self, service: str, command: Sequence[str], given: str = "") -> str:
        """Run a command in a container of a service, and return what it said."""
        line = self.command(service, command)
        done = subprocess.run(line, input=given, capture_output=True, text=True, check=False, timeout=_ONCE_S)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}{self.ends()}"
        return done.stdout

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check says so; Kafka's is its image's, it is asked as its clients do."""
        ended = {one: process.returncode for one, process in self.running.items() if process.poll() is not None}
        assert not ended, f"{ended} ended{self.ends()}"
        if name == KAFKA:
            return self.kafka_answers()
        first, *test = self.said["services"][name]["healthcheck"]["test"]
        assert first == "CMD"
        return subprocess.run(self.command(name, test), capture_output=True, check=False, timeout=30).returncode == 0

    def kafka_answers(self) -> bool:
        """Whether the broker answers."""
        try:
            kafka.reachable(Settings(kafka=Kafka(bootstrap_servers="kafka:9092")))
        except LoopwrightError:
            return False
        return True

    def kill(self, *names: str) -> None:
        """End services at once, with all their replicas."""
        for mark in [one for one in self.running if one.rstrip("-0123456789") in names]:
            process = self.running.pop(mark)
            process.kill()
            process.wait(30)

    def ends(self) -> str:
        """The last lines of every log."""
        logs = sorted((self.work / "logs").glob("*.log"))
        return "".join(f"\n--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def log(self, name: str) -> Path:
        """The log of a container."""
        folder = self.work / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def _start_kafka(self) -> None:
        said = self.said["services"][KAFKA]["environment"]
        given = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in said.items() if name.startswith("KAFKA_")}
        given["log.dirs"] = str(self.work / "kafka-data")
        file = self.work / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        jvm = [str(self.java), "-Xmx512m", "-cp", os.pathsep.join(map(str, self.jars))]
        with self.log(KAFKA).open("ab") as log:
            format_ = [*jvm, "kafka.tools.StorageTool", "format", "-t", said["CLUSTER_ID"], "-c", str(file)]
            subprocess.run(format_, stdout=log, stderr=log, check=True, timeout=60)
            self.running[KAFKA] = subprocess.Popen([*jvm, "kafka.Kafka", str(file)], stdout=log, stderr=log)


def read(file: Path) -> tuple[Composition, Path]:
    """The composition that a test has written down, and where it wants the answers."""
    said = json.loads(file.read_text())
    image = Stage(**{**said["image"], "root": Path(said["image"]["root"])})
    made = Composition(image, said["compose"], Path(said["work"]), Path(said["java"]), list(map(Path, said["jars"])))
    return made, Path(said["answers"])
