"""Which parts make up the local platform."""

import json
from pathlib import Path

import pytest

from loopwright.cli.stack import at, own_secrets, stack_config, team_dir, with_local_ports
from loopwright.edges.platform.registry_server import server_settings
from loopwright.edges.platform.services import Endpoints
from loopwright.edges.platform.status import expected_names
from loopwright.edges.secrets import SecretsFile, key_bytes
from loopwright.errors import InvalidDefinition, InvalidSettings
from loopwright.settings import Platform, Registry, Settings, read_settings

HERE = Endpoints("127.0.0.1:29092", "http://127.0.0.1:28081", {"agents": "http://127.0.0.1:21801", "gateway": "http://127.0.0.1:21800"})


def settings(**more: object) -> Settings:
    return read_settings(**more)


def test_the_platform_has_the_topics_the_job_the_agents_and_the_gateway(tmp_path):
    config = stack_config(settings(home=tmp_path))
    assert [service.name for service in config.services] == ["agents", "gateway"]
    assert {topic.name for topic in config.topics} == set(settings().topics.model_dump().values())
    assert config.job is not None
    assert config.job.script.name == "orchestrator.py"


def test_agents_that_are_elsewhere_are_used_and_not_started():
    config = stack_config(settings(agents_url="https://agents.example/team"))
    assert [service.name for service in config.services] == ["gateway"]
    where = at(settings(agents_url="https://agents.example/team"), Endpoints("k:1", "f", {"gateway": "http://127.0.0.1:5"}))
    assert (where.agents_url, where.gateway_url) == ("https://agents.example/team", "http://127.0.0.1:5")


@pytest.mark.parametrize(
    ("text", "scheduled"),
    [
        ("schedules: {a: {cron: '0 2 * * *', document: {}}}", True),
        ("webhooks: {a: {}}", False),
        ("schedules: {a: {cron: nonsense, document: {}}}", True),
    ],
)
def test_what_starts_schedules_is_a_part_where_there_are_some_or_where_it_cannot_be_told(tmp_path, text, scheduled):
    (tmp_path / "sources.yaml").write_text(text)
    config = stack_config(settings(home=tmp_path, sources_file=tmp_path / "sources.yaml"))
    assert [service.name for service in config.services] == ["agents", "gateway", *(["scheduler"] if scheduled else [])]
    assert config.variables(HERE)["LOOPWRIGHT_SOURCES_FILE"] == str(tmp_path / "sources.yaml")


def test_a_sources_file_that_is_wrong_is_refused_before_anything_is_published(tmp_path):
    (tmp_path / "sources.yaml").write_text("webhooks: 3")
    with pytest.raises(InvalidDefinition, match=r"sources\.yaml:1: "):
        stack_config(settings(home=tmp_path, sources_file=tmp_path / "sources.yaml")).publish(HERE)


def test_the_ports_of_the_settings_are_tried_first():
    config = stack_config(settings(agents_url="http://localhost:9901", gateway_url="http://127.0.0.1:9900"))
    assert config.preferred == {"agents": 9901, "gateway": 9900}


def test_each_service_is_told_its_port():
    arguments = {service.name: service.arguments(HERE) for service in stack_config(settings()).services}
    assert arguments["agents"][-2:] == ["--port", "21801"]
    assert arguments["gateway"][-2:] == ["--port", "21800"]


def test_the_processes_are_told_where_everything_is(tmp_path):
    told = stack_config(settings(home=tmp_path)).variables(HERE)
    assert told == {
        "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:29092",
        "LOOPWRIGHT_AGENTS_URL": "http://127.0.0.1:21801",
        "LOOPWRIGHT_GATEWAY_URL": "http://127.0.0.1:21800",
        "LOOPWRIGHT_HOME": str(tmp_path),
        "LOOPWRIGHT_SECRETS_FILE": str(tmp_path / "run" / "secrets.json"),
    }


def test_a_registry_is_run_where_it_is_asked_for_and_everything_is_told_where_it_is(tmp_path):
    asked = settings(home=tmp_path, platform=Platform(registry=True))
    here = Endpoints(HERE.kafka, HERE.flink, {**HERE.services, "registry": "http://127.0.0.1:21803"})
    config = stack_config(asked)
    assert (config.registry, stack_config(settings()).registry) == (True, False)
    assert expected_names(config)[:2] == ["kafka", "registry"]
    assert config.variables(here)["LOOPWRIGHT_REGISTRY__URL"] == "http://127.0.0.1:21803/apis/ccompat/v7"
    assert at(asked, here).registry.url == "http://127.0.0.1:21803/apis/ccompat/v7"
    assert at(asked, HERE).registry.url == ""


def test_two_registries_are_not_asked_for():
    with pytest.raises(InvalidSettings, match="one schema registry is used"):
        stack_config(settings(platform=Platform(registry=True), registry=Registry(url="https://registry.example")))


def test_the_registry_keeps_its_ids_on_this_machine_and_has_a_rule(tmp_path):
    found = server_settings({"registry": 1, "registry-management": 2}, tmp_path)
    assert (found["quarkus.http.host"], found["quarkus.management.host"]) == ("127.0.0.1", "127.0.0.1")
    assert found["apicurio.datasource.url"].startswith(f"jdbc:h2:file:{tmp_path}/registry;")
    assert found["apicurio.rules.global.compatibility"] == "BACKWARD"


def test_a_platform_makes_its_secrets_once_for_its_owner_alone(tmp_path):
    file = own_secrets(tmp_path)
    secret = SecretsFile(file).texts("callback")
    assert (file.stat().st_mode & 0o777, len(key_bytes(*secret))) == (0o600, 32)
    assert own_secrets(tmp_path) == file
    assert SecretsFile(file).texts("callback") == secret
    assert SecretsFile(own_secrets(tmp_path / "other")).texts("callback") != secret


def test_secrets_of_one_s_own_are_handed_on_by_path(tmp_path):
    told = stack_config(settings(home=tmp_path, secrets_file=tmp_path / "mine.yaml")).variables(HERE)
    assert told["LOOPWRIGHT_SECRETS_FILE"] == str(tmp_path / "mine.yaml")
    assert not (tmp_path / "run" / "secrets.json").exists()


def test_client_options_of_kafka_are_kept():
    mine = settings(kafka={"bootstrap_servers": "k:9092", "client": {"security.protocol": "SSL"}})
    assert at(mine, HERE).kafka.client == {"security.protocol": "SSL"}


def test_flink_is_told_of_state_checkpoints_and_further_options(tmp_path):
    config = stack_config(
        settings(
            state={"backend": "rocksdb", "interval_ms": 1000, "checkpoints": str(tmp_path)},
            platform={"flink": {"s3.endpoint": "http://minio:9000"}},
        )
    )
    assert (config.flink.state_backend, config.flink.checkpoint_interval_ms, config.checkpoints) == ("rocksdb", 1000, tmp_path)
    assert config.flink.settings == {"s3.endpoint": "http://minio:9000"}


def test_the_default_team_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (team_dir(settings()) / "lead-scoring.yaml").is_file()


def test_commands_find_the_services_on_the_ports_that_they_were_given(tmp_path, monkeypatch):
    monkeypatch.delenv("LOOPWRIGHT_AGENTS_URL", raising=False)
    monkeypatch.delenv("LOOPWRIGHT_GATEWAY_URL", raising=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ports.json").write_text(json.dumps({"agents": 21801, "kafka": 1}))
    found = with_local_ports(settings(home=tmp_path))
    assert (found.agents_url, found.gateway_url) == ("http://127.0.0.1:21801", settings().gateway_url)
    assert with_local_ports(settings(home=tmp_path, agents_url="http://mine:1")).agents_url == "http://mine:1"


def test_the_model_s_key_is_handed_on_in_a_file_of_one_s_own(tmp_path):
    config = stack_config(settings(home=tmp_path, llm_api_key="sk-secret"))
    told = config.variables(HERE)
    assert "sk-secret" not in str(told)
    assert told["LOOPWRIGHT_LLM_API_KEY"] == ""
    file = Path(told["LOOPWRIGHT_LLM_API_KEY_FILE"])
    assert file.stat().st_mode & 0o077 == 0
    assert settings(llm_api_key_file=file).llm_key() == "sk-secret"
