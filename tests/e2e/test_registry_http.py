"""The edge to a schema registry, over HTTP: what is asked for, how often, and what becomes of each failure."""

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from typer.testing import CliRunner

from loopwright import schemas
from loopwright.cli.schemas import app, register_all
from loopwright.edges.registry import SchemaRegistry
from loopwright.edges.values import Framing, RegistryDecode, as_json, reader, values_of
from loopwright.errors import Conflict, InvalidSettings, LoopwrightError, NotFound, Retryable, Unreachable
from loopwright.json_strict import JsonRefused
from loopwright.message import Message, emitted
from loopwright.settings import Registry as Said
from loopwright.settings import Settings
from loopwright.subjects import COMPATIBILITY, by_fullname, subjects
from loopwright.wire import GUID_HEADER, prefix, schema_id, without_registry
from tests.e2e.http_here import free_port
from tests.e2e.registry_here import Registry, served

QUICK = {"max.retries": 0, "timeout": 2}
STARTED = by_fullname()["loopwright.avro.WorkflowStarted"]
MESSAGE = Message("i", schemas.STARTED, "/s", "w", {"document": {"name": "Ada"}}, time_ms=5)
EMIT = emitted("agent-messages", MESSAGE)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with served(Registry()) as made:
        yield made


def settings_of(url: str, write: str = "plain", **client: str | int) -> Settings:
    return Settings(registry=Said(url=url, write=write, client={**QUICK, **client}))  # type: ignore[arg-type]


def avro_value(settings: Settings) -> bytes:
    """A start in Avro, with the id that the registry has for its schema."""
    return prefix(SchemaRegistry(settings).registered(STARTED, "AVRO").id) + STARTED.encoded(orjson.loads(EMIT.value))


def test_every_schema_is_registered_once_under_the_rule_that_we_keep(registry: Registry) -> None:
    settings = settings_of(registry.url)
    rows = register_all(settings)
    assert {row["subject"] for row in rows} == set(registry.subjects) == set(registry.rules)
    assert set(registry.rules.values()) == {COMPATIBILITY}
    assert len(rows) == sum(len(subject.kinds) for subject in subjects())
    assert register_all(settings) == rows


def test_a_schema_that_breaks_the_rule_is_a_conflict_and_the_rule_is_set_before_it_is_tried(registry: Registry) -> None:
    name = f"agent-messages-{schemas.STARTED}"
    registry.subjects[name] = []
    registry.compatible = False
    with pytest.raises(Conflict) as refused:
        register_all(settings_of(registry.url))
    assert name in refused.value.what
    assert registry.rules == {name: COMPATIBILITY}


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, InvalidSettings), (403, InvalidSettings), (404, NotFound), (422, LoopwrightError), (500, Retryable), (429, Retryable)],
)
def test_each_answer_becomes_an_error_with_a_remedy(registry: Registry, status: int, error: type[LoopwrightError]) -> None:
    registry.status = status
    with pytest.raises(error) as raised:
        SchemaRegistry(settings_of(registry.url)).schema(1)
    assert all((raised.value.what, raised.value.why, raised.value.remedy))


def test_a_registry_that_is_away_is_named_and_no_password_is(registry: Registry) -> None:
    port = free_port()
    with pytest.raises(Unreachable) as raised:
        SchemaRegistry(settings_of(f"http://ada:hunter22@127.0.0.1:{port}")).schema(1)
    assert str(port) in raised.value.why
    assert "hunter22" not in str(raised.value)
    assert raised.value.exit_code == 3


def test_a_registry_is_logged_in_to_as_the_settings_say(registry: Registry) -> None:
    register_all(settings_of(registry.url, **{"basic.auth.user.info": "ada:secret"}))
    assert registry.authorization == {"Basic YWRhOnNlY3JldA=="}


def test_client_settings_that_are_none_are_named() -> None:
    with pytest.raises(InvalidSettings) as refused:
        SchemaRegistry(settings_of("http://127.0.0.1:1", nonsense="x")).open()
    assert "nonsense" in refused.value.why


def test_what_the_job_learnt_when_it_was_submitted_it_knows_without_the_registry() -> None:
    with served(Registry()) as registry:
        settings = settings_of(registry.url)
        register_all(settings)
        value = avro_value(settings)
        values = values_of(settings)
    decode = pickle.loads(pickle.dumps(values.decode))
    assert decode(value, 64)["data"] == MESSAGE.data


def test_a_schema_is_asked_for_once(registry: Registry) -> None:
    settings = settings_of(registry.url)
    register_all(settings)
    value, decode = avro_value(settings), RegistryDecode(settings, 0.0)
    before = len(registry.asked)
    for _ in range(3):
        assert decode(value, 64)["data"] == MESSAGE.data
    assert len(registry.asked) == before + 1


def test_an_id_that_nobody_knows_is_refused_and_not_asked_for_again_at_once(registry: Registry) -> None:
    decode = RegistryDecode(settings_of(registry.url), 0.0)
    for _ in range(3):
        with pytest.raises(JsonRefused) as refused:
            decode(prefix(99) + b"\2a", 64)
        assert (refused.value.cause, "99" in refused.value.why) == ("unknown-schema-id", True)
    assert len(registry.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 422])
def test_an_id_that_the_registry_takes_for_none_is_the_record_s_fault(registry: Registry, status: int) -> None:
    registry.status = status
    with pytest.raises(JsonRefused) as refused:
        RegistryDecode(settings_of(registry.url), 0.0)(prefix(2**32 - 1) + b"\2a", 64)
    assert refused.value.cause == "unknown-schema-id"


def test_a_registry_that_lets_us_not_in_is_no_record_s_fault(registry: Registry) -> None:
    registry.status = 401
    with pytest.raises(InvalidSettings):
        RegistryDecode(settings_of(registry.url), 0.0)(prefix(1) + b"\2a", 64)


def test_while_the_registry_is_away_an_unknown_schema_is_waited_for_and_then_read() -> None:
    port, registry = free_port(), Registry()
    settings = settings_of(f"http://127.0.0.1:{port}")
    with served(registry, port):
        register_all(settings)
        value = avro_value(settings)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(RegistryDecode(settings, 30.0)(value, 64)["type"]))
    waiting.start()
    with served(registry, port):
        waiting.join(30)
    assert found == [schemas.STARTED]


def test_when_patience_ends_nothing_is_said_of_the_record() -> None:
    decode = RegistryDecode(settings_of(f"http://127.0.0.1:{free_port()}"), 0.2)
    with pytest.raises(Unreachable):
        decode(prefix(1) + b"\2a", 64)


def test_a_registry_that_is_only_read_from_need_not_be_there_when_the_job_is_submitted() -> None:
    values = values_of(settings_of(f"http://127.0.0.1:{free_port()}"))
    assert (isinstance(values.decode, RegistryDecode), values.frames) == (True, {})


def test_without_a_registry_nothing_is_asked_and_values_with_ids_cannot_be_promised(tmp_path: Path) -> None:
    assert values_of(settings_of("")).decode is without_registry
    with pytest.raises(InvalidSettings, match="no registry is known"):
        values_of(settings_of("", "json"))
    assert reader(Settings(home=tmp_path)) is without_registry


def test_ids_that_cannot_be_had_are_an_error_before_the_job_runs(registry: Registry) -> None:
    with pytest.raises(Unreachable):
        values_of(settings_of(f"http://127.0.0.1:{free_port()}", "json"))
    with pytest.raises(InvalidSettings) as refused:
        values_of(settings_of(registry.url, "json"))
    assert "loopwright schemas register" in refused.value.remedy


@pytest.mark.parametrize("write", ["json", "json-header", "avro"])
def test_each_way_to_write_names_the_schema_that_is_registered(registry: Registry, write: str) -> None:
    settings = settings_of(registry.url, write)
    register_all(settings)
    known = SchemaRegistry(settings).registered(STARTED, "AVRO" if write == "avro" else "JSON")
    made = Framing(settings).framed(EMIT)
    frame = values_of(settings).frames["agent-messages", schemas.STARTED.encode()]
    assert made == frame.framed(EMIT)
    if write == "json-header":
        assert (made.value, made.headers[GUID_HEADER]) == (EMIT.value, b"\1" + UUID(known.guid).bytes)
    else:
        assert schema_id(made.value) == known.id
        assert orjson.loads(as_json(made.value, reader(settings)))["data"] == MESSAGE.data


def test_ids_are_asked_for_once_and_not_for_each_record(registry: Registry) -> None:
    settings = settings_of(registry.url, "json")
    register_all(settings)
    framing = Framing(settings)
    framing.framed(EMIT)
    before = len(registry.asked)
    framing.framed(EMIT)
    assert len(registry.asked) == before


def test_a_registry_without_guids_cannot_be_named_in_headers(registry: Registry) -> None:
    registry.guids = False
    settings = settings_of(registry.url, "json-header")
    register_all(settings)
    with pytest.raises(InvalidSettings, match="cannot be named in headers"):
        Framing(settings).framed(EMIT)


def test_the_commands_show_what_is_registered_what_could_be_and_write_every_schema(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_REGISTRY__URL", registry.url)

    def said(*arguments: str) -> tuple[int, dict[str, list[dict[str, object]]]]:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        return result.exit_code, orjson.loads(result.stdout)

    code, listed = said("list")
    assert (code, {row["state"] for row in listed["subjects"]}) == (0, {"not registered"})
    code, checked = said("check")
    assert (code, {row["state"] for row in checked["checked"]}) == (0, {"compatible"})
    assert said("register")[0] == 0
    code, listed = said("list")
    assert (code, {row["state"] for row in listed["subjects"]}) == (0, {"registered"})
    assert all(isinstance(row["id"], int) and row["version"] == 1 for row in listed["subjects"])
    name = f"agent-messages-{schemas.STARTED}"
    registry.schemas[registry.subjects[name][0] - 1] = ("JSON", '{"another": "one"}')
    registry.compatible = False
    code, checked = said("check")
    assert (code, [row["subject"] for row in checked["checked"] if row["state"] == "incompatible"]) == (1, [name])
    code, written = said("export", str(tmp_path))
    assert (code, len(written["written"])) == (0, len(listed["subjects"]))
    assert orjson.loads((tmp_path / "agent-messages" / "loopwright.avro.WorkflowStarted.avsc").read_bytes()) == STARTED.avro
