"""Jars over HTTP: a wrong one is refused, a missing network is said, what was fetched is kept."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loopwright.edges.platform.jars import Jar, Jars
from loopwright.errors import PlatformFailed, Unreachable

CONTENT = b"PK the jar"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
JAR = Jar("kafka", "org.example:one:1.0", SHA256)
OTHER = Jar("kafka", "org.example:two:1.0", "0" * 64)


class Repository(BaseHTTPRequestHandler):
    """A Maven repository in which every jar has the same content."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = self.path.endswith(".jar")
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(CONTENT) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def repository() -> Iterator[ThreadingHTTPServer]:
    Repository.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/maven"


def test_what_is_missing_is_fetched_once(tmp_path: Path, repository: ThreadingHTTPServer) -> None:
    told: list[tuple[int, int]] = []
    jars = Jars(tmp_path, (JAR,))
    assert jars.sync(lambda done, of: told.append((done, of)), url(repository)) == 1
    assert told == [(1, 1)]
    assert [path.read_bytes() for path in jars.paths("kafka")] == [CONTENT]
    asked = len(Repository.asked)
    assert Jars(tmp_path, (JAR,)).sync(repository=url(repository)) == 0
    assert len(Repository.asked) == asked


def test_a_jar_with_another_sum_is_refused_and_never_reaches_the_cache(tmp_path: Path, repository: ThreadingHTTPServer) -> None:
    with pytest.raises(PlatformFailed) as refused:
        Jars(tmp_path, (OTHER,)).sync(repository=url(repository))
    assert "org.example:two:1.0" in refused.value.what
    assert SHA256 in refused.value.why
    assert not list(tmp_path.rglob("*.jar"))


def test_a_damaged_jar_in_the_cache_is_fetched_again(tmp_path: Path, repository: ThreadingHTTPServer) -> None:
    damaged = tmp_path / "jars" / "kafka" / JAR.filename
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half a j")
    assert Jars(tmp_path, (JAR,)).sync(repository=url(repository)) == 1
    assert damaged.read_bytes() == CONTENT


def test_without_a_network_the_error_says_which_jar_and_what_to_do(tmp_path: Path, repository: ThreadingHTTPServer) -> None:
    nowhere = url(repository)
    repository.shutdown()
    repository.server_close()
    with pytest.raises(Unreachable) as refused:
        Jars(tmp_path, (JAR,)).sync(repository=nowhere)
    assert "org.example:one:1.0" in refused.value.what
    assert "network" in refused.value.remedy
    assert refused.value.exit_code == 3
