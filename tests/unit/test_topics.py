"""The topics as they are made: partitions, copies, how long records are kept and in which tier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.edges.kafka import TopicSpec
from loopwright.edges.topics import topic_specs
from loopwright.errors import InvalidSettings
from loopwright.settings import Retention, Settings, read_settings

DAY = 24 * 3_600_000
NAMES = read_settings().topics
WORKFLOWS = (NAMES.messages, NAMES.questions, NAMES.decisions, NAMES.callbacks, NAMES.results)
COMPACTED = (NAMES.definitions, NAMES.schedules)


def specs(**more: object) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in topic_specs(read_settings(**more))}


def test_there_is_a_topic_for_every_name_with_the_partitions_and_copies_that_are_set() -> None:
    found = specs(kafka={"partitions": 48, "replication": 3})
    assert set(found) == set(NAMES.model_dump().values())
    assert {spec.replication for spec in found.values()} == {3}
    assert {name: spec.partitions for name, spec in found.items()} == {**dict.fromkeys(found, 48), **dict.fromkeys(COMPACTED, 1)}


def test_records_of_workflows_are_kept_for_a_week_and_the_rest_as_long_as_it_is_of_use() -> None:
    kept = {name: int(spec.config["retention.ms"]) // DAY for name, spec in specs().items() if "retention.ms" in spec.config}
    assert kept == {**dict.fromkeys(WORKFLOWS, 7), NAMES.progress: 1, NAMES.dead_letters: 30, NAMES.audit: 90}


@pytest.mark.parametrize("name", COMPACTED)
def test_what_is_looked_up_is_compacted_and_never_expires(name: str) -> None:
    config = specs(retention={"hot_ms": DAY})[name].config
    assert config["cleanup.policy"] == "compact"
    assert "retention.ms" not in config


@given(hot=st.integers(DAY, 400 * DAY) | st.just(-1), warm=st.integers(0, 4000 * DAY))
def test_both_tiers_together_keep_what_was_asked_for_and_the_disks_no_more_than_the_first(hot: int, warm: int) -> None:
    found = {spec.name: spec for spec in topic_specs(Settings(retention=Retention(hot_ms=hot, warm_ms=warm)))}
    for name, spec in found.items():
        total = int(spec.config.get("retention.ms", -1))
        if name in WORKFLOWS:
            assert total == (-1 if hot == -1 else hot + warm)
        if spec.tiers:
            assert name in WORKFLOWS
            assert spec.tiers == {"remote.storage.enable": "true", "local.retention.ms": str(hot)}
            assert 0 < hot < total
        else:
            assert name not in WORKFLOWS or warm == 0 or hot == -1


@pytest.mark.parametrize("kept", [{"hot_ms": DAY - 1}, {"hot_ms": 0, "warm_ms": DAY - 1}])
def test_records_that_would_be_gone_before_their_workflow_ends_are_refused(kept: dict[str, int]) -> None:
    with pytest.raises(InvalidSettings, match="LOOPWRIGHT_RETENTION__HOT_MS"):
        specs(retention=kept)
    assert specs(retention=kept, limits={"deadline_ms": DAY - 1})
