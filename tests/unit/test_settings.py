"""Settings: from the environment, with errors that name the variable; the table in the docs is the code's."""

from pathlib import Path

import pytest

from loopwright.errors import InvalidSettings
from loopwright.settings import Settings, as_markdown, described, read_settings

ROOT = Path(__file__).resolve().parents[2]


def test_a_nested_setting_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS", "broker:9092")
    monkeypatch.setenv("LOOPWRIGHT_LIMITS__HOPS", "7")
    found = read_settings()
    assert (found.kafka.bootstrap_servers, found.limits.hops) == ("broker:9092", 7)


def test_a_list_of_teams_is_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_ROUTING__ELSEWHERE", '["sdr", "demo"]')
    assert read_settings().routing.elsewhere == ("sdr", "demo")


def test_a_wrong_value_names_the_variable_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_LIMITS__HOPS", "many")
    with pytest.raises(InvalidSettings) as caught:
        read_settings()
    assert "LOOPWRIGHT_LIMITS__HOPS" in caught.value.why
    assert caught.value.exit_code == 2


def test_a_key_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-secret\n")
    found = Settings(llm_api_key_file=tmp_path / "key", llm_api_key="sk-other")
    assert found.llm_key() == "sk-secret"
    assert "sk-" not in repr(found)


def test_every_setting_says_what_it_means() -> None:
    assert all(meaning for _, _, meaning in described())


def test_the_table_in_the_docs_is_the_code_s() -> None:
    assert as_markdown() in (ROOT / "docs" / "settings.md").read_text()
