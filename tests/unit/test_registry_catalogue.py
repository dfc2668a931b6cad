import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import Conflict
from loopwright.registry.catalogue import MOST_PINNED, Catalogue
from loopwright.registry.change import plan, records
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.roster import records_of


def define(name: str, version: int = 1, **other: object) -> AgentDefinition:
    fields: dict[str, object] = {
        "name": name,
        "team": "sdr",
        "version": version,
        "description": "Does something.",
        "input": {"type": "object", "properties": {"a": {}}},
        "output": {"type": "object", "properties": {"b": {}}},
        "endpoint": "http://127.0.0.1:8801/x",
    }
    return AgentDefinition.model_validate({**fields, **other})


def catalogue(*definitions: AgentDefinition) -> Catalogue:
    return Catalogue((definition.ref, definition.to_json()) for definition in definitions)


def test_a_team_is_the_newest_version_of_each_of_its_agents() -> None:
    known = catalogue(define("a", 2), define("a", 1), define("b"), define("c", team="other"))
    assert [agent.ref for agent in known.team("sdr").values()] == ["sdr/a@2", "sdr/b@1"]
    assert dict(known.team("nobody")) == {}


def test_pins_hold_and_what_is_missing_is_named() -> None:
    known = catalogue(define("a", 1), define("a", 2))
    assert known.pinned("sdr", {"a": 1})["a"].version == 1
    assert known.pinned("sdr", {"a": 3, "z": 1}) == {}
    assert known.missing("sdr", {"a": 3, "z": 1}) == ("sdr/a@3", "sdr/z@1")


def test_pins_are_looked_up_anew_once_a_definition_changes() -> None:
    known, sealed = catalogue(define("a")), {"type": "object", "properties": {"a": {"x-sensitive": True}}}
    assert (known.pinned("sdr", {"a": 1, "b": 1}).keys(), known.sensitive("sdr", {"a": 1, "b": 1})) == ({"a"}, frozenset())
    known.apply("sdr/b@1", define("b", input=sealed).to_json())
    assert (known.pinned("sdr", {"a": 1, "b": 1}).keys(), known.sensitive("sdr", {"a": 1, "b": 1})) == ({"a", "b"}, {"a"})
    known.apply("sdr/a@1", None)
    assert known.pinned("sdr", {"a": 1, "b": 1}).keys() == {"b"}


def test_a_version_that_is_no_whole_number_pins_nothing_whatever_was_asked_before() -> None:
    known = catalogue(define("a"))
    assert [len(known.pinned("sdr", {"a": version})) for version in (1, 1.0, True)] == [1, 0, 0]  # type: ignore[dict-item]  # as a foreign record may


def test_no_more_sets_of_pins_are_kept_than_there_is_room_for() -> None:
    known = catalogue(define("a"))
    assert all(known.pinned("sdr", {"a": 1, "b": version}).keys() == {"a"} for version in range(3 * MOST_PINNED))
    assert len(known._pinned) <= MOST_PINNED


def test_a_tombstone_uncovers_the_version_before() -> None:
    known = catalogue(define("a", 1), define("a", 2))
    known.apply("sdr/a@2", None)
    assert known.team("sdr")["a"].version == 1
    known.apply("sdr/a@1", None)
    assert dict(known.team("sdr")) == {}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("sdr/a@1", b"not json", "not JSON"),
        ("sdr/a@1", b"[]", "definition"),
        ("sdr/a@9", define("a").to_json(), "sdr/a@9"),
        ("sdr/a@1", define("a", input={"type": "object", "properties": {"x": {"type": "strin"}}}).to_json(), "strin"),
    ],
)
def test_a_bad_record_is_kept_out_and_reported_until_a_good_one_comes(key: str, value: bytes, says: str) -> None:
    known = Catalogue()
    known.apply(key, value)
    assert says in known.problems[key]
    assert known.agents == ()
    name, version = key.removeprefix("sdr/").split("@")
    known.apply(key, define(name, int(version)).to_json())
    assert dict(known.problems) == {}
    assert [agent.ref for agent in known.agents] == [key]


@given(st.text(max_size=20), st.binary(max_size=60) | st.none())
def test_apply_never_raises(key: str, value: bytes | None) -> None:
    Catalogue().apply(key, value)


def test_plan_says_what_is_new_unchanged_and_moved() -> None:
    current = catalogue(define("a"), define("b"))
    wanted = [define("a"), define("b", endpoint="https://elsewhere/x"), define("c"), define("a", 2)]
    assert [(change.kind, change.definition.ref) for change in plan(current, wanted)] == [
        ("unchanged", "sdr/a@1"),
        ("moved", "sdr/b@1"),
        ("new", "sdr/c@1"),
        ("new", "sdr/a@2"),
    ]


def test_a_published_version_never_changes_and_all_conflicts_are_named() -> None:
    current = catalogue(define("a", 3), define("b"))
    with pytest.raises(Conflict) as caught:
        plan(current, [define("a", 3, description="Other."), define("b", timeout="1s"), define("a", 2)])
    assert "a: raise version to 4" in caught.value.remedy
    assert "b: raise version to 2" in caught.value.remedy
    assert "timeout_ms" in caught.value.why
    assert "sdr/a@2 is older" in caught.value.why


def test_the_written_record_gives_the_definition_back() -> None:
    (change,) = plan(Catalogue(), [define("a")])
    assert Catalogue([change.record]).get("sdr", "a", 1) is not None


def test_a_team_is_known_by_its_roster_once_all_of_its_agents_are() -> None:
    both = [define("a"), define("b", 2)]
    known = Catalogue(records_of(both)[:-1])
    assert known.roster("sdr") == {}
    known.apply(*records_of(both)[-1])
    assert known.roster("sdr") == {"a": 1, "b": 2}
    known.apply("sdr/b@2", None)
    assert known.roster("sdr") == {}


@pytest.mark.parametrize(
    "value", [b"{", b"[]", b'{"team": "sdr"}', b'{"team": "sdr", "agents": {"a": "1"}}', b'{"team": "sdr", "agents": 1}']
)
def test_a_roster_that_cannot_be_read_is_reported_and_changes_nothing(value: bytes) -> None:
    known = Catalogue(records_of([define("a")]))
    known.apply("sdr", value)
    assert "sdr" in known.problems
    assert known.roster("sdr") == {"a": 1}


def test_publishing_a_smaller_team_removes_the_others_from_the_roster() -> None:
    current = Catalogue(records_of([define("a"), define("b")]))
    changes = plan(current, [define("a")])
    assert [(change.kind, change.definition.name) for change in changes] == [("unchanged", "a"), ("removed", "b")]
    assert [key for key, _ in records(current, changes)] == ["sdr"]
    assert records(current, plan(current, [define("a"), define("b")])) == []
    assert [key for key, _ in records(current, plan(current, [define("a"), define("b")], again=True))] == ["sdr/a@1", "sdr/b@1"]
