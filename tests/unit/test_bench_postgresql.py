"""The PostgreSQL beside a peer of the benchmark: what is seen before a server is started."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.peers import postgresql


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are closed to others
        Path(made).chmod(0o755)
        if postgresql.first_closed(Path(made)) is not None:
            pytest.skip("the folder for temporary files is closed to others on this machine")
        yield Path(made)


def test_outermost_folder_that_not_everyone_may_enter_is_found(folder: Path) -> None:
    deep = folder / "outer" / "inner"
    deep.mkdir(parents=True)
    for made in (deep, deep.parent):
        made.chmod(0o755)
    assert postgresql.first_closed(deep) is None
    deep.chmod(0o700)
    assert postgresql.first_closed(deep) == deep
    deep.parent.chmod(0o710)
    assert postgresql.first_closed(deep) == deep.parent


def test_folder_that_is_not_there_yet_is_not_called_closed(folder: Path) -> None:
    assert postgresql.first_closed(folder / "later" / "still") is None


def test_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PACKAGE", "a_package_that_is_nowhere")
    with pytest.raises(RuntimeError, match=r"a_package_that_is_nowhere is not installed.*Remedy"):
        postgresql.binaries()


def test_address_names_the_database_and_the_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgresql, "binaries", lambda: tmp_path)
    monkeypatch.setattr(postgresql.os, "geteuid", lambda: 1000)
    server = postgresql.PostgreSQL(tmp_path)
    server.socket = Path("/run/somewhere")
    assert server.url("dbos") == "postgresql://postgres@/dbos?host=/run/somewhere"
