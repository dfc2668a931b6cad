"""Which peers there are, and when a peer's environment has to be made anew."""

import sys
from pathlib import Path

from bench.install import digest, lines, peers, python_of, wanted


def test_a_peer_is_a_module_that_can_be_run() -> None:
    found = peers()
    assert "asyncio_loop" in found
    assert "serving" not in found
    assert "__init__" not in found


def test_a_peer_without_requirements_runs_in_this_environment(tmp_path: Path) -> None:
    assert wanted("asyncio_loop") == {}
    assert python_of("asyncio_loop", tmp_path) == sys.executable


def test_an_environment_is_made_anew_when_its_files_change(tmp_path: Path) -> None:
    file = tmp_path / "peer.requirements.txt"
    file.write_text("a==1\n")
    files = wanted("peer", tmp_path)
    assert files == {"pip": file}
    before = digest(files)
    file.write_text("a==2\n")
    assert digest(files) != before


def test_comments_are_no_packages() -> None:
    assert lines("# why\n@scope/server@1.2.3  # the server\n\n") == ["@scope/server@1.2.3"]
