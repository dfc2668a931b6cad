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


def mounted(folder: Path, **files: str) -> Path:
    """A folder of files as Kubernetes mounts a Secret: links into a folder that is replaced as a whole."""
    content = folder / "settings" / "..2026_11_28"
    content.mkdir(parents=True)
    (folder / "settings" / "..data").symlink_to(content.name)
    for name, text in files.items():
        (content / name).write_text(text)
        (folder / "settings" / name).symlink_to(f"..data/{name}")
    return folder / "settings"


def test_a_setting_may_stand_in_a_file_of_its_name_and_a_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client, store = '{"sasl.password": "hunter2"}\n', "postgresql://agents:hunter2@db/agents\n"
    folder = mounted(tmp_path, LOOPWRIGHT_KAFKA__CLIENT=client, LOOPWRIGHT_AGENT_STORE=store, LOOPWRIGHT_TEAM="files", other="ignored")
    monkeypatch.setenv("LOOPWRIGHT_SETTINGS_DIR", str(folder))
    monkeypatch.setenv("LOOPWRIGHT_TEAM", "variable")
    monkeypatch.setenv("LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS", "broker:9092")
    found = read_settings()
    assert (found.kafka.client, found.kafka.bootstrap_servers, found.team) == ({"sasl.password": "hunter2"}, "broker:9092", "variable")
    assert found.agent_store.get_secret_value() == store.strip()
    assert read_settings(team="given").team == "given"


def test_a_wrong_value_in_a_file_names_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOPWRIGHT_SETTINGS_DIR", str(mounted(tmp_path, LOOPWRIGHT_LIMITS__HOPS="many")))
    with pytest.raises(InvalidSettings, match="LOOPWRIGHT_LIMITS__HOPS"):
        read_settings()


@pytest.mark.parametrize("client", ["{", "hunter2"])
def test_a_map_that_is_no_json_is_an_error_with_a_remedy_that_does_not_quote_it(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    monkeypatch.setenv("LOOPWRIGHT_KAFKA__CLIENT", client)
    with pytest.raises(InvalidSettings, match="kafka") as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)
    assert caught.value.remedy


def test_a_folder_of_settings_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOPWRIGHT_SETTINGS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidSettings, match="nowhere"):
        read_settings()


def test_a_file_of_settings_that_is_no_text_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = mounted(tmp_path)
    (folder / "LOOPWRIGHT_TEAM").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("LOOPWRIGHT_SETTINGS_DIR", str(folder))
    with pytest.raises(InvalidSettings, match="not UTF-8"):
        read_settings()


def test_a_key_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-secret\n")
    found = Settings(llm_api_key_file=tmp_path / "key", llm_api_key="sk-other")
    assert found.llm_key() == "sk-secret"
    assert "sk-" not in repr(found)


def test_every_setting_says_what_it_means() -> None:
    assert all(meaning for _, _, meaning in described())


def test_the_table_in_the_docs_is_the_code_s() -> None:
    assert as_markdown() in (ROOT / "docs" / "settings.md").read_text()
