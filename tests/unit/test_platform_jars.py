"""The lock file of the jars, and how it is read."""

import io
import re
import tarfile
from pathlib import Path

import pytest

from loopwright.edges.platform.jars import ALONE, LEFT_OUT, LOCK, ON_DEMAND, WITH_CLOSURE, Jar, Jars, locked, read_lock
from loopwright.errors import NotFound, PlatformFailed


def test_the_lock_holds_the_broker_with_its_closure_and_the_connector_alone() -> None:
    jars = locked()
    assert [jar.coordinate for jar in jars if jar.group == "flink"] == list(ALONE["flink"])
    kafka = {jar.coordinate for jar in jars if jar.group == "kafka"}
    assert len(kafka) == 46
    assert kafka >= set(WITH_CLOSURE["kafka"])


def test_the_lock_holds_each_set_as_it_is_named() -> None:
    for name, coordinates in ALONE.items():
        assert {jar.coordinate for jar in locked() if jar.group == name} == set(coordinates)
    for name, coordinates in WITH_CLOSURE.items():
        found = [jar.coordinate for jar in locked() if jar.group == name]
        assert set(found) >= set(coordinates)
        assert not [jar for jar in found if jar.partition(":")[0] in LEFT_OUT.get(name, ())]


def test_a_platform_waits_for_no_jar_that_it_does_not_use(tmp_path: Path) -> None:
    jars = Jars(tmp_path)
    assert {jar.group for jar in jars.missing()} == {"flink", "kafka", "sql-client"}
    assert {jar.group for jar in jars.missing(["parquet"])} == {"flink", "kafka", "sql-client", "parquet"}
    assert {jar.group for jar in locked()} == {"flink", "kafka", "sql-client", *ON_DEMAND}


def test_a_set_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="iceberg"):
        Jars(tmp_path).missing(["iceberg"])


def test_the_lock_names_no_host() -> None:
    assert not re.search(r"https?://|\.org/|\.com/|\.io/", LOCK.read_text())


def test_every_jar_has_a_file_name_of_its_own() -> None:
    names = [(jar.group, jar.filename) for jar in read_lock(LOCK.read_text())]
    assert len(set(names)) == len(names)


def archive(folder: Path, content: bytes) -> Jars:
    """A cache that holds an archive with one file."""
    jar = Jar("registry", "org.example:server:tar.gz:all:1.0", "0" * 64)
    file = folder / "jars" / "registry" / jar.filename
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return Jars(folder, (jar,))


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        made.addfile(tarfile.TarInfo("run.jar"), io.BytesIO())
    folder = archive(tmp_path, packed.getvalue()).unpacked("registry")
    assert (folder.name, [file.name for file in folder.iterdir()]) == ("server-1.0-all", ["run.jar"])
    (folder / "mark").touch()
    assert (Jars(tmp_path, (Jar("registry", "org.example:server:tar.gz:all:1.0", "0" * 64),)).unpacked("registry") / "mark").exists()


def test_an_archive_that_is_none_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(PlatformFailed, match=r"server-1.0-all.tar.gz cannot be unpacked"):
        archive(tmp_path, b"no archive").unpacked("registry")
    assert [file.name for file in (tmp_path / "jars" / "registry").iterdir()] == ["server-1.0-all.tar.gz"]


@pytest.mark.parametrize(
    "line", ["kafka a:b:1:2 " + "0" * 64, "kafka a:b:1", "kafka a:b " + "0" * 64, "kafka a:b:1 " + "0" * 63, "a:b:1 " + "0" * 64]
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(PlatformFailed) as refused:
        read_lock(f"# head\n{line}\n")
    assert refused.value.why.startswith("line 2:")


def test_a_jar_is_named_as_maven_names_it() -> None:
    assert Jar("kafka", "org.apache.kafka:kafka_2.13:4.3.1", "0" * 64).filename == "kafka_2.13-4.3.1.jar"
    assert Jar("x", "org.example:server:tar.gz:all:1.0", "0" * 64).filename == "server-1.0-all.tar.gz"
