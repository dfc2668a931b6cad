from pathlib import Path

import pytest

from loopwright.errors import InvalidDefinition
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.loading import load_one, load_team

GOOD = """\
name: {name}
version: 1
description: Does something.
input: {{type: object, properties: {{a: {{type: string}}}}}}
output: {{type: object, properties: {{b: {{enum: [yes, 2024-01-01]}}}}}}
endpoint: ${{URL:-http://127.0.0.1:8801}}/agents/{name}
"""


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def complaint(path: Path) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        load_team(path, {})
    return str(caught.value)


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    path = folder(tmp_path, b=GOOD.format(name="x"), a=GOOD.format(name="y"))
    assert [definition.name for definition in load_team(path, {})] == ["y", "x"]


def test_variables_fill_the_endpoint_and_nothing_else(tmp_path: Path) -> None:
    text = GOOD.format(name="x").replace("Does something.", "Costs ${URL} a call.")
    (definition,) = load_team(folder(tmp_path, a=text), {"URL": "https://agents.example"})
    assert definition.endpoint == "https://agents.example/agents/x"
    assert definition.description == "Costs ${URL} a call."
    assert load_team(tmp_path, {"URL": ""})[0].endpoint == "http://127.0.0.1:8801/agents/x"


def test_yaml_is_read_as_json(tmp_path: Path) -> None:
    (definition,) = load_team(folder(tmp_path, a=GOOD.format(name="x")), {})
    assert definition.output["properties"]["b"]["enum"] == ["yes", "2024-01-01"]


def test_durations_are_read(tmp_path: Path) -> None:
    text = GOOD.format(name="x") + "timeout: 2m\ncallback_timeout: 1h\nretry: {attempts: 2, initial: 50ms, max: 1.5s}\n"
    (definition,) = load_team(folder(tmp_path, a=text), {})
    assert (definition.timeout_ms, definition.callback_timeout_ms) == (120_000, 3_600_000)
    assert (definition.retry.initial_ms, definition.retry.max_ms) == (50, 1500)


def test_everything_wrong_in_every_file_is_said_at_once(tmp_path: Path) -> None:
    first = GOOD.format(name="Lead_Scoring").replace("version: 1", "version: one") + "timeout: 30\nretries: 3\n"
    second = GOOD.format(name="x").replace("type: string", "type: strin")
    text = complaint(folder(tmp_path, a=first, b=second, c="name: c\nname: d\n", d="- 1\n", e="a: [", f="a: \xff"))
    for expected in (
        "a.yaml:1: name: 'Lead_Scoring'",
        "a.yaml:2: version: 'one'",
        "a.yaml:7: timeout: 30 has no unit; write 30s or 30ms",
        "a.yaml:8: retries: is not a field",
        "b.yaml:4: input.properties.a.type: 'strin' is not a type",
        "c.yaml:2: the key 'name' is there twice",
        "d.yaml:1: is not a mapping",
        "e.yaml:",
        "f.yaml:1: version: is missing",
        "remedy: ",
    ):
        assert expected in text


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    text = GOOD.format(name="x").replace("${URL:-http://127.0.0.1:8801}", "${AGENTS}")
    assert "a.yaml:6: endpoint: '${AGENTS}/agents/x' names the variable AGENTS, which is not set" in complaint(folder(tmp_path, a=text))


def test_two_agents_of_one_name_are_refused(tmp_path: Path) -> None:
    text = complaint(folder(tmp_path, a=GOOD.format(name="x"), b=GOOD.format(name="x")))
    assert "b.yaml:1: name: 'x' is taken by" in text
    assert "a.yaml; " in text


def test_after_names_agents_that_exist(tmp_path: Path) -> None:
    text = complaint(folder(tmp_path, a=GOOD.format(name="x") + "after: [y]\n"))
    assert "a.yaml:7: after: 'y' is no agent of team 'default'; known: x" in text


def test_after_does_not_go_round_in_a_circle(tmp_path: Path) -> None:
    files = {name: GOOD.format(name=name) + f"after: [{before}]\n" for name, before in (("a", "c"), ("b", "a"), ("c", "b"), ("d", "a"))}
    text = complaint(folder(tmp_path, **files))
    assert text.count("goes round in a circle") == 1
    assert "a -> c -> b -> a" in text


def test_an_agent_after_itself_is_refused(tmp_path: Path) -> None:
    assert "x -> x goes round" in complaint(folder(tmp_path, a=GOOD.format(name="x") + "after: [x]\n"))


def test_examples_keep_their_contracts(tmp_path: Path) -> None:
    text = GOOD.format(name="x") + "examples:\n- input: {a: fine}\n- input: {a: 1}\n"
    assert "a.yaml:9: examples.1.input breaks the contract: $.a" in complaint(folder(tmp_path, a=text))


def test_merge_keys_and_anchors_work(tmp_path: Path) -> None:
    text = GOOD.format(name="x") + "retry: &slow {attempts: 2}\nexamples: [{<<: *slow, attempts: 3}]\n"
    assert load_team(folder(tmp_path, a=text), {})[0].examples == ({"attempts": 3},)


@pytest.mark.parametrize(
    "text", ["1: a\n", "a: &x [*x]\n", "? [a]\n: b\n", "a: !!python/object:os.system x\n", "a: .nan\nb: ~\n", "", "a: {b: {<<: 3}}\n"]
)
def test_hostile_yaml_is_a_problem_and_not_a_crash(tmp_path: Path, text: str) -> None:
    assert "a.yaml:" in complaint(folder(tmp_path, a=text))


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "there is no *.yaml file" in complaint(tmp_path)
    assert "there is no such folder" in complaint(tmp_path / "nowhere")


def test_one_file_is_loaded_without_its_team(tmp_path: Path) -> None:
    folder(tmp_path, a=GOOD.format(name="x") + "after: [elsewhere]\n", b="name: x\n")
    assert isinstance(load_one(tmp_path / "a.yaml", {}), AgentDefinition)
    with pytest.raises(InvalidDefinition, match="version: is missing"):
        load_one(tmp_path / "b.yaml", {})
