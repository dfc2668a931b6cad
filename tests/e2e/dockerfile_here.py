"""Runs a Dockerfile without Docker: each stage in a Debian root of its own. It knows the instructions that docker/Dockerfile has."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.debian_root import inside, network_environment

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STEP_S = 900


@dataclass
class Stage:
    """A stage: its root, and what a container of it begins with."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)


class Builder:
    """Builds in `work`. `base` is a Debian root that is copied for each stage, `sent` the folder that a builder would be sent; `caches` are
    folders of this machine by the folders in a stage that they stand for, where a step mounts a cache."""

    def __init__(self, base: Path, sent: Path, work: Path, caches: Mapping[str, Path], arguments: Mapping[str, str]) -> None:
        self._base = base
        self._sent = sent
        self._work = work
        self._caches = caches
        self._arguments = arguments
        self._stages: dict[str, Stage] = {}
        self._stage: Stage | None = None

    def build(self, dockerfile: Path) -> Stage:
        """The last stage, built."""
        for word, rest in instructions(dockerfile.read_text()):
            getattr(self, f"_{word.lower()}")(rest)
        assert self._stage is not None
        return self._stage

    def _from(self, rest: str) -> None:
        _, _, name = re.fullmatch(r"(\S+) (AS) (\S+)", rest).groups()  # type: ignore[union-attr]
        root = self._work / name
        subprocess.run(["cp", "-a", str(self._base), str(root)], check=True)
        self._stage = self._stages[name] = Stage(root)

    def _arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        if self._stage is None:
            assert default.startswith("debian:bookworm"), "the root is Debian 12"
        else:
            self._stage.arguments[name] = self._arguments.get(name, default)

    def _env(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self._now.environment[name] = self._arguments.get(name, value)

    def _copy(self, rest: str) -> None:
        *options, last = shlex.split(rest)
        origin = next((one.removeprefix("--from=") for one in options if one.startswith("--from=")), "")
        sources = [one for one in options if not one.startswith("--")]
        target = self._now.root / last.lstrip("/")
        for source in sources:
            if origin:  # that stage is not needed any more
                shutil.move(self._stages[origin].root / source.lstrip("/"), target)
            elif source == ".":
                shutil.copytree(self._sent, target, dirs_exist_ok=True, symlinks=True)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(self._sent / source, target)

    def _run(self, rest: str) -> None:
        mounts: list[tuple[Path | str, str, bool]] = []
        while match := re.match(r"--mount=(\S+) ", rest):
            rest = rest[match.end() :]
            said = dict(one.split("=") for one in match[1].split(","))
            if said["type"] == "bind":
                mounts.append((self._sent, said["target"], True))
            else:
                mounts += [(here, there, False) for there, here in self._caches.items() if there.startswith(said["target"])]
        for _, target, _ in mounts:
            (self._now.root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        given = {"HOME": "/root"} | network_environment() | self._now.environment | self._now.arguments
        command = inside(self._now.root, ["/bin/sh", "-c", rest], given, mounts=mounts, folder=self._now.folder)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=_STEP_S)
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout[-4000:]}"

    def _workdir(self, rest: str) -> None:
        self._now.folder = rest

    def _user(self, rest: str) -> None:
        self._now.user = rest

    def _entrypoint(self, rest: str) -> None:
        self._now.entrypoint = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        """What a container does that is told nothing: of no interest here."""

    @property
    def _now(self) -> Stage:
        assert self._stage is not None
        return self._stage


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile, each with what follows it."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    for line in filter(str.strip, joined.splitlines()):
        word, _, rest = line.partition(" ")
        yield word, rest.strip()


def send(repository: Path, ignore: Path, to: Path) -> None:
    """Copy what a builder would be sent: what the ignore file lets through."""
    for line in ignore.read_text().splitlines():
        if line.startswith("!"):
            source, target = repository / line[1:], to / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
