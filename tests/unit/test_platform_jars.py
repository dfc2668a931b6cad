"""The lock file of the jars, and how it is read."""

import re

import pytest

from loopwright.edges.platform.jars import ALONE, LOCK, ON_DEMAND, WITH_CLOSURE, Jar, locked, read_lock
from loopwright.errors import PlatformFailed


def test_the_lock_holds_the_broker_with_its_closure_and_the_connector_alone() -> None:
    jars = locked()
    assert [jar.coordinate for jar in jars if jar.group == "flink"] == list(ALONE["flink"])
    kafka = {jar.coordinate for jar in jars if jar.group == "kafka"}
    assert len(kafka) == 46
    assert kafka >= set(WITH_CLOSURE["kafka"])


def test_what_a_local_platform_has_no_use_for_is_locked_and_fetched_on_demand_alone() -> None:
    assert {jar.group for jar in locked()} == {*ALONE, *WITH_CLOSURE} - set(ON_DEMAND)
    assert [jar.coordinate for jar in locked(*ON_DEMAND)] == [name for group in ON_DEMAND for name in ALONE[group]]


def test_the_lock_names_no_host() -> None:
    assert not re.search(r"https?:|\.org/|\.com/|\.io/", LOCK.read_text())


def test_every_jar_has_a_file_name_of_its_own() -> None:
    names = [(jar.group, jar.filename) for jar in read_lock(LOCK.read_text())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("line", ["kafka a:b:1", "kafka a:b " + "0" * 64, "kafka a:b:1 " + "0" * 63, "a:b:1 " + "0" * 64])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(PlatformFailed) as refused:
        read_lock(f"# head\n{line}\n")
    assert refused.value.why.startswith("line 2:")


def test_a_jar_is_named_as_maven_names_it() -> None:
    assert Jar("kafka", "org.apache.kafka:kafka_2.13:4.3.1", "0" * 64).filename == "kafka_2.13-4.3.1.jar"
