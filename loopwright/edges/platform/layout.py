"""Where everything lies: the state folder of one local platform, and the cache that all of them on a machine share."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the state folder `home`. Absolute, so that they hold for processes with another working folder."""

    home: Path

    @classmethod
    def at(cls, home: Path) -> "Layout":
        """The layout of the state folder `home`; `~` and relative paths are resolved."""
        return cls(home.expanduser().resolve())

    @property
    def run(self) -> Path:
        """What runs: a file per process, the ports, the lock."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """Every log of every process."""
        return self.home / "logs"

    @property
    def kafka_data(self) -> Path:
        """The topics' records."""
        return self.home / "data" / "kafka"

    @property
    def checkpoints(self) -> Path:
        """The job's checkpoints, a folder per job."""
        return self.home / "data" / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """The job's savepoints, written by a clean stop."""
        return self.home / "data" / "savepoints"

    @property
    def registry_data(self) -> Path:
        """The schema registry's database."""
        return self.home / "data" / "registry"

    @property
    def conf(self) -> Path:
        """Configuration files that were written for the processes."""
        return self.home / "conf"

    @property
    def tmp(self) -> Path:
        """Temporary files of the processes; emptied when nothing runs."""
        return self.home / "tmp"

    @property
    def mark(self) -> Path:
        """The file by which a state folder is known as one; nothing is wiped without it."""
        return self.home / "platform.json"

    def pipeline(self, name: str) -> "Layout":
        """What a job of one's own in SQL keeps: checkpoints, savepoints, its id. Apart, for the platform's job must not find them."""
        return Layout(self.home / "pipelines" / name)

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Make the folders, and keep them out of version control."""
        for folder in (self.run, self.logs, self.kafka_data, self.registry_data, self.checkpoints, self.savepoints, self.conf, self.tmp):
            if not folder.is_symlink():  # to a folder that may be away: whoever needs it says so
                folder.mkdir(parents=True, exist_ok=True)
        if not self.mark.exists():
            self.mark.write_text('{"layout": 1}\n')
            (self.home / ".gitignore").write_text("*\n")

    def wipe(self) -> None:
        """Delete everything but the ports: they stay as they were told to others."""
        for entry in self.home.iterdir():
            if entry.is_dir() and entry != self.run:
                shutil.rmtree(entry, ignore_errors=True)
        for entry in self.run.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name not in ("ports.json", "lock"):
                entry.unlink(missing_ok=True)
