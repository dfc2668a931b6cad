"""A demo that is up: the real command in a process of its own, for tests that look at it from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

COMMAND = [sys.executable, "-c", "from loopwright.cli.main import main; main()"]
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
START_S, STOP_S, COMMAND_S = 240, 120, 120
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def install(wheels: Path, site: Path) -> None:
    """Build a wheel of this repository in `wheels`, and install it, without what it needs, into the empty folder `site`."""
    build = ["build", "--wheel", "--no-build-isolation", "--offline", "-q", "-o", str(wheels), str(ROOT)]
    subprocess.run([sys.executable, "-m", "uv", *build], check=True, timeout=COMMAND_S)
    (wheel,) = wheels.glob("*.whl")
    into = ["pip", "install", "--offline", "-q", "--no-deps", "--python", sys.executable, "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "uv", *into], check=True, timeout=COMMAND_S)


class Demo:
    """A demo that is up. Commands run in `folder`."""

    def __init__(self, home: Path, more: Mapping[str, str] | None = None, folder: Path = ROOT) -> None:
        self.folder = folder
        urls = {f"LOOPWRIGHT_{name}_URL": f"http://127.0.0.1:{free_port()}" for name in ("AGENTS", "GATEWAY")}
        self.home = home
        self.env = PLAIN | urls | {"LOOPWRIGHT_HOME": str(home)} | dict(more or {})
        self.process = subprocess.Popen(
            [*COMMAND, "demo", "--json", "--timeout", "2m"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, cwd=folder
        )
        self.said = self._document()

    def _document(self) -> dict[str, object]:
        """The JSON document on stdout: it ends with a brace at the beginning of a line."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line == b"}\n":
                return json.loads(b"".join(lines))
        raise AssertionError(f"the demo ended early: {self.stop()}")

    def run(self, *args: str, stdin: bytes = b"", code: int = 0) -> object:
        done = subprocess.run(
            [*COMMAND, *args, "--json"], input=stdin, capture_output=True, env=self.env, cwd=self.folder, timeout=COMMAND_S, check=False
        )
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        return json.loads(done.stdout)

    def stop(self) -> tuple[int, str]:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=STOP_S)
        return self.process.returncode, err.decode()

    def left(self) -> list[str]:
        """Command lines of the processes that work in the demo's state folder."""
        return [" ".join(args) for args in (_arguments(process) for process in psutil.process_iter()) if str(self.home) in " ".join(args)]


def _arguments(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
