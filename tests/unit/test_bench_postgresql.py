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


def test_home_that_is_closed_to_others_is_opened_for_the_account_it_runs_as(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setattr(postgresql, "binaries", lambda: folder)
    monkeypatch.setattr(postgresql.os, "geteuid", lambda: 0)
    postgresql.PostgreSQL(home)
    assert home.stat().st_mode & 0o777 == 0o701


def test_root_is_told_which_folder_is_in_the_way(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    home = folder / "closed" / "home"
    home.mkdir(parents=True)
    home.parent.chmod(0o700)
    monkeypatch.setattr(postgresql, "binaries", lambda: folder)
    monkeypatch.setattr(postgresql.os, "geteuid", lambda: 0)
    with pytest.raises(RuntimeError, match=r"may not enter .*/closed\. Remedy"):
        postgresql.PostgreSQL(home)
