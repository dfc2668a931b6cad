"""What docs/agents.md shows is what the code does."""

import re
from pathlib import Path

import pytest

from loopwright.agent import Agent, create_app
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.loading import known_fields, load_team

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_shown_agent_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greeter.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "greeter"}
    exec(blocks("python")[0], names)
    agent = names["greeter"]
    assert isinstance(agent, Agent)
    create_app([agent], tmp_path)


def test_the_table_names_every_field_of_a_definition() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", section("The definition"), re.MULTILINE)) == known_fields()


def test_the_table_gives_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section("The definition"), re.MULTILINE))
    needed = {name for name, field in AgentDefinition.model_fields.items() if field.is_required()}
    assert {name for name, default in rows.items() if default == "needed"} == needed


@pytest.mark.parametrize("definition", load_team(ROOT / "agents" / "sdr", {}), ids=lambda definition: definition.name)
def test_the_table_of_sdr_agents_is_theirs(definition: AgentDefinition) -> None:
    (needs, promises) = re.findall(rf"^\| {definition.name} \| (.*?) \| (.*?) \|$", section("The SDR agents"), re.MULTILINE)[0]
    assert needs.split(", ") == definition.input["required"]
    assert re.sub(r" \(\w+\)|;.*", "", promises).split(", ") == definition.output["required"]
