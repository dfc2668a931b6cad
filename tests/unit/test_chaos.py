"""The pure parts of chaos: the schedule, the time to the next result, what counts as an effect too many, and the verdict."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents.sdr import serve
from loopwright import schemas
from loopwright.errors import InvalidDefinition
from loopwright.history.invariants import Report
from loopwright.registry.loading import load_team
from loopwright.settings import Settings
from loopwright.step import Record
from loopwright.testing.chaos.effects import Run, effects
from loopwright.testing.chaos.fickle_model import fickle_policy
from loopwright.testing.chaos.load import End, Lead, Tally, note
from loopwright.testing.chaos.platform import HARD_TIMES, PARTS, copy_team, parts_of
from loopwright.testing.chaos.recovery import Killed, Told, by_part, recovery_s
from loopwright.testing.chaos.report import report_of
from loopwright.testing.chaos.schedule import schedule
from loopwright.testing.chaos.slow_agents import BEGUN, DONE
from loopwright.testing.chaos.team import SDR, address, own_team

SECONDS = st.floats(0, 600)
GAPS = st.floats(2, 100)
AT_5 = Told(5, 5)
PATHS = {"short": ("active-outreach", "send-email"), "long": ("nurture-campaign", "send-email")}


@given(st.integers(), SECONDS, GAPS)
def test_the_schedule_follows_from_the_seed_alone(seed: int, seconds: float, gap_s: float) -> None:
    kills = schedule(seed, seconds, PARTS, gap_s)
    assert kills == schedule(seed, seconds, PARTS, gap_s)
    assert all(0 < kill.at_s < seconds and kill.part in PARTS for kill in kills)
    assert all(earlier.at_s <= later.at_s for earlier, later in pairwise(kills))


@given(st.integers(), SECONDS, SECONDS, GAPS)
def test_a_longer_run_begins_as_a_shorter_one(seed: int, one: float, other: float, gap_s: float) -> None:
    short, long = (schedule(seed, seconds, PARTS, gap_s) for seconds in sorted((one, other)))
    assert long[: len(short)] == short


@given(st.integers(), GAPS)
def test_every_part_is_killed_once_in_each_round(seed: int, gap_s: float) -> None:
    kills = schedule(seed, gap_s * 40, PARTS, gap_s)
    rounds = [kills[at : at + len(PARTS)] for at in range(0, len(kills), len(PARTS))]
    assert all(len({kill.part for kill in one}) == len(one) for one in rounds)
    assert len(kills) >= 40 / 1.75 - 1


def test_two_seeds_give_two_schedules() -> None:
    assert schedule(1, 600, PARTS, 10) != schedule(2, 600, PARTS, 10)


def test_nothing_to_kill_is_no_schedule() -> None:
    assert schedule(1, 600, (), 10) == ()


def killed(part: str, at_ms: int, gone_ms: int | None = None) -> Killed:
    return Killed(part, 1, at_ms, at_ms if gone_ms is None else gone_ms, 200)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 5_000))), st.integers(0, 10_000), st.integers(0, 500))
def test_recovery_is_the_time_until_a_result_is_read_that_was_written_after_the_part_was_gone(
    results: list[tuple[int, int]], at_ms: int, dying_ms: int
) -> None:
    told = [Told(written, written + later) for written, later in results]
    found = recovery_s(killed("kafka", at_ms, at_ms + dying_ms), told)
    later = [one.read_ms for one in told if one.written_ms > at_ms + dying_ms]
    assert found == ((min(later) - at_ms) / 1000 if later else None)


def test_recovery_is_summed_up_by_part() -> None:
    found = by_part([killed("kafka", 0), killed("kafka", 5000), killed("agents", 9500)], [Told(900, 1000), Told(5500, 9000)])
    kafka = found["kafka"]
    assert kafka is not None
    assert (kafka.count, kafka.min_s, kafka.median_s, kafka.max_s) == (2, 1.0, 2.5, 4.0)
    assert found["agents"] is None


def lead(number: int = 1) -> Lead:
    return Lead(f"w{number}", number)


def judged(path: str | None, subjects: list[str], runs: list[Run] | None = None) -> tuple[str, ...]:
    ends = {"w1": End(schemas.WORKFLOW_COMPLETED, PATHS[path], AT_5)} if path else {}
    return effects([lead()], ends, {address(1): Counter(subjects)}, runs or [], (0, 0)).wrong


@pytest.mark.parametrize(("path", "subjects"), [("short", ["a"]), ("long", ["a", "b", "c"]), (None, []), (None, ["a"])])
def test_mails_that_the_path_accounts_for_are_right(path: str | None, subjects: list[str]) -> None:
    assert judged(path, subjects) == ()


@pytest.mark.parametrize(
    ("path", "subjects"), [("short", ["a", "a"]), ("short", []), ("short", ["a", "b"]), ("long", ["a", "b", "c", "c"]), (None, ["a", "a"])]
)
def test_a_mail_too_many_or_too_few_is_found(path: str | None, subjects: list[str]) -> None:
    assert len(judged(path, subjects)) == 1


def test_a_call_that_one_process_does_twice_is_found_and_one_that_another_process_takes_over_is_not() -> None:
    def runs(*pids: int) -> list[Run]:
        return [Run(what, "send-email", "k", pid) for pid in pids for what in (BEGUN, DONE)]

    assert judged("short", ["a"], runs(7, 8)) == ()
    assert judged("short", ["a"], [Run(BEGUN, "send-email", "k", 7), *runs(7)]) == ()
    assert len(judged("short", ["a"], runs(7, 7))) == 1
    assert effects([], {}, {}, runs(7, 8), (1, 1)).taken_over == 1


def verdict(tally: Tally, known: int, kills: list[Killed] | None = None) -> dict[str, bool]:
    logged = Report((), {"workflows": known, "open": 0, "duplicates_fenced": 0})
    done = effects(tally.sent.values(), tally.ends, {address(1): Counter(["a"])}, [], (0, 0))
    report = report_of(1, 60, kills or [], 0, tally, done, logged)
    assert report.holds == all(check.holds for check in report.checks)
    return {check.name: check.holds for check in report.checks}


def test_the_verdict_is_good_when_every_workflow_ended_or_waits_for_a_person() -> None:
    tally = Tally({"w1": lead(1), "w2": lead(2)}, {"w1": End(schemas.WORKFLOW_COMPLETED, PATHS["short"], AT_5)}, {"w2"})
    assert set(verdict(tally, 2).values()) == {True}
    assert tally.open() == 0


def test_a_workflow_without_an_end_one_that_nobody_started_and_a_kill_without_recovery_are_bad() -> None:
    ends = {"w1": End(schemas.WORKFLOW_COMPLETED, PATHS["short"], AT_5)}
    found = verdict(Tally({"w1": lead(1), "w2": lead(2)}, ends), 3, [killed("kafka", 10)])
    assert {name for name, holds in found.items() if not holds} == {"nothing is lost", "nothing is made up", "every kill was got over"}


def test_the_tally_takes_the_first_result_of_each_workflow_and_nobody_elses() -> None:
    settings, tally = Settings(), Tally({"w1": lead(1)})
    value = b'{"specversion":"1.0","id":"r","type":"t","source":"s","workflowid":"w1","data":{"path":["send-email"],"outcome":"park"}}'

    def seen(topic: str, kind: str, key: bytes, at_ms: int) -> None:
        note(tally, Record(topic, 0, 0, at_ms, key, value, {"ce_type": kind.encode()}), settings, at_ms * 10)

    seen(settings.topics.messages, schemas.SETTLED, b"w1", 1)
    assert (tally.parked, tally.left(), tally.open()) == ({"w1"}, [], 0)
    seen(settings.topics.messages, schemas.RESUMED, b"w1", 2)
    assert tally.left() == ["w1"]
    for at_ms in (7, 8):
        seen(settings.topics.results, schemas.WORKFLOW_COMPLETED, b"w1", at_ms)
    seen(settings.topics.results, schemas.WORKFLOW_COMPLETED, b"other", 9)
    assert tally.ends == {"w1": End(schemas.WORKFLOW_COMPLETED, ("send-email",), Told(7, 70))}


def test_the_fickle_model_keeps_the_schema_and_changes_its_mind() -> None:
    names = ["active-outreach", "nurture-campaign", "none"]
    schema = {"type": "object", "required": ["agent"], "properties": {"agent": {"type": "string", "enum": names}}}
    request = {"messages": [], "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    answers = {yaml.safe_load(fickle_policy(request))["agent"] for _ in range(64)}
    assert answers == {"active-outreach", "nurture-campaign"}


def test_the_sdr_team_is_given_another_retry_policy_and_nothing_else(tmp_path: Path) -> None:
    folder = Path(serve.__file__).parent
    copy_team(folder, tmp_path / "team", HARD_TIMES)
    patient, usual = load_team(tmp_path / "team", {}), load_team(folder, {})
    assert {(definition.retry.attempts, definition.concurrency) for definition in patient} == {(100, 256)}
    assert [one.model_dump(exclude=set(HARD_TIMES)) for one in patient] == [one.model_dump(exclude=set(HARD_TIMES)) for one in usual]


def greeter(folder: Path, name: str, team: str) -> None:
    contract = "{type: object, properties: {name: {type: string}}}"
    fields = {"name": name, "team": team, "version": 1, "description": "greets", "endpoint": "http://127.0.0.1:1/", "input": contract}
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text("".join(f"{key}: {value}\n" for key, value in (fields | {"output": contract}).items()))


def test_a_team_of_ones_own_is_worked_with_its_documents_and_its_agents_are_left_alone(tmp_path: Path) -> None:
    greeter(tmp_path / "team", "greeter", "demo")
    (tmp_path / "names.jsonl").write_text('{"name": "Ada"}\n{"name": "Bob"}\n')
    team = own_team(tmp_path / "team", str(tmp_path / "names.jsonl"), {})
    assert (team.name, team.own, SDR.own) == ("demo", True, False)
    assert [team.document(number)["name"] for number in range(3)] == ["Ada", "Bob", "Ada"]
    assert "agents" in parts_of(SDR, False)
    assert "agents" not in parts_of(team, True)
    assert "python-worker" in parts_of(team, True)
    copy_team(team.folder, tmp_path / "copy", {})
    assert load_team(tmp_path / "copy", {}) == load_team(team.folder, {})


def test_two_teams_in_one_folder_are_refused(tmp_path: Path) -> None:
    greeter(tmp_path, "greeter", "demo")
    greeter(tmp_path, "waver", "other")
    with pytest.raises(InvalidDefinition, match="more than one team"):
        own_team(tmp_path, "-", {})
