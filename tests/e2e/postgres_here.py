"""A real PostgreSQL for a test: the binaries of the wheel `pgserver`, run as they stand. PostgreSQL refuses to run as root, so it then runs
as `nobody`, on a copy that `nobody` may read; no user is made, and nothing outside its own folder is changed."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

DEADLINE_S = 60
PASSWORD = "s3cret-of-the-database"


class Postgres:
    """One server in a folder of its own, on a Unix socket; `url` names it. To be stopped by `close`.

    With a `port` it also listens there on loopback, where a password is asked for: `PASSWORD`. `settings` go on top of PostgreSQL's own.
    """

    def __init__(self, port: int = 0, **settings: str) -> None:
        self.port, self._settings = port, settings
        found = importlib.util.find_spec("pgserver")
        assert found is not None
        assert found.submodule_search_locations
        wheel = Path(found.submodule_search_locations[0])
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.bin = wheel / "pginstall" / "bin"
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for part in (wheel, wheel.with_name("pgserver.libs")):
                shutil.copytree(part, self.folder / "wheel" / part.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
            self.bin = self.folder / "wheel" / "pgserver" / "pginstall" / "bin"
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.folder.chmod(0o755)
        self.url = f"postgresql://postgres@/postgres?host={self.folder}" + (f"&port={port}" if port else "")
        self._server: subprocess.Popen[bytes] | None = None
        try:
            login = ("--auth-local=trust", "--auth-host=scram-sha-256")
            self._run("initdb", "-D", str(self.folder / "data"), *login, "--encoding=utf8", "-U", "postgres", "--no-sync")
            self.start()
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(f"ALTER USER postgres PASSWORD '{PASSWORD}'".encode())
        except BaseException:
            self.close()
            raise

    def _run(self, *command: str) -> None:
        done = subprocess.run([self.bin / command[0], *command[1:]], capture_output=True, cwd=self.folder, check=False, **self._as)  # type: ignore[call-overload]
        assert done.returncode == 0, (done.stdout + done.stderr).decode()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        listening = ["-h", "127.0.0.1", "-p", str(self.port)] if self.port else ["-h", ""]
        further = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [self.bin / "postgres", "-D", self.folder / "data", "-k", self.folder, "-F", *listening, *further]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._as)  # type: ignore[call-overload]
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server: connections are cut, what was committed stays."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(DEADLINE_S)
            self._server = None

    def database(self, name: str) -> str:
        """The address of a new, empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url.replace("/postgres?", f"/{name}?")

    def close(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder)
