"""Kafka Connect as a service: what it is told, and that the database's password stands in one file alone."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.cli.stack import stack_config
from loopwright.edges.platform import connect
from loopwright.edges.platform.connect import command, connector_settings, password, properties, worker_settings
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.services import Endpoints
from loopwright.errors import InvalidSettings
from loopwright.settings import Cdc, Settings, read_settings

SECRET = "s3cret-of-the-database"
DATABASE = "postgresql://reader@db.example:5433/sales"
TABLES = ("public.leads", "public.partners")


def cdc(**changes: object) -> Cdc:
    return Cdc(**{"database": DATABASE, "tables": TABLES, **changes})


def test_the_connector_follows_the_tables_of_the_database(tmp_path: Path) -> None:
    told = connector_settings(cdc(), tmp_path)
    assert (told["database.hostname"], told["database.port"], told["database.user"]) == ("db.example", "5433", "reader")
    assert (told["database.dbname"], told["table.include.list"]) == ("sales", "public.leads,public.partners")
    assert told["topic.prefix"] == "loopwright"


@pytest.mark.parametrize("prefix", ["Sales.EU", "a-b", "x"])
def test_slot_and_publication_have_names_that_postgresql_takes(tmp_path: Path, prefix: str) -> None:
    told = connector_settings(cdc(prefix=prefix), tmp_path)
    assert re.fullmatch(r"[a-z0-9_]+", told["slot.name"])
    assert told["publication.name"] == told["slot.name"]


@pytest.mark.parametrize("database", ["", "db.example", "mysql://me@db/x", "postgresql://db/x", "postgresql://me@db", "postgresql://me@/x"])
def test_an_address_that_lacks_something_is_refused(tmp_path: Path, database: str) -> None:
    with pytest.raises(InvalidSettings, match="LOOPWRIGHT_CDC__DATABASE"):
        connector_settings(cdc(database=database), tmp_path)


def test_an_address_with_a_password_in_it_is_refused_without_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as refused:
        connector_settings(cdc(database=f"postgresql://me:{SECRET}@db/x"), tmp_path)
    assert SECRET not in str(refused.value)


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="LOOPWRIGHT_CDC__PASSWORD_FILE"):
        password(cdc(password_file=tmp_path / "nowhere"))
    assert password(cdc()) == ""


def test_the_password_stands_in_one_file_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "given").write_text(f"{SECRET}\n")
    followed = cdc(password_file=tmp_path / "given")
    settings = Settings(home=tmp_path / "home", cache=tmp_path / "cache", cdc=followed)
    args, environment = command(settings, 8083, {})
    assert SECRET not in " ".join([*args, *environment.values()])
    holding = [path for path in (tmp_path / "home").rglob("*") if path.is_file() and SECRET in path.read_text()]
    (alone,) = holding
    assert alone.stat().st_mode & 0o077 == 0
    assert alone.read_text() == SECRET
    (told,) = (tmp_path / "home").rglob("postgresql.properties")
    assert f"${{private:{alone.parent}:{alone.name}}}" in told.read_text()


def test_a_login_to_kafka_is_told_to_each_of_its_clients_in_their_own_words(tmp_path: Path) -> None:
    client = {"security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN", "sasl.username": "u", "sasl.password": "p"}
    settings = Settings(kafka={"bootstrap_servers": "k:1", "client": client})
    told = worker_settings(settings, 8083, Layout.at(tmp_path), tmp_path)
    for prefix in ("", "producer.", "consumer.", "admin."):
        assert told[f"{prefix}sasl.jaas.config"].startswith("org.apache.kafka.common.security.plain.PlainLoginModule ")


@given(
    st.dictionaries(st.sampled_from(["a", "b.c"]), st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\r")))
)
def test_settings_are_lines_of_their_own(settings: dict[str, str]) -> None:
    lines = properties(settings).split("\n")
    assert len(lines) == len(settings) + 1
    for (name, value), line in zip(settings.items(), lines, strict=False):
        text = line.removeprefix(f"{name}=").removeprefix("\\" if value.startswith(" ") else "")
        assert re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), text) == value


def test_the_platform_has_connect_where_tables_are_named(tmp_path: Path) -> None:
    without = stack_config(read_settings(home=tmp_path))
    assert connect.NAME not in [service.name for service in without.services]
    assert without.jars == ()
    config = stack_config(read_settings(home=tmp_path, cdc=cdc()))
    assert config.services[-1].name == connect.NAME
    assert set(config.jars) == {connect.JARS, connect.PLUGIN}
    here = Endpoints("k:1", "f", {connect.NAME: "http://127.0.0.1:28083"})
    assert config.services[-1].arguments(here)[-2:] == ["--port", "28083"]
