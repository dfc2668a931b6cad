"""Scripts of SQL: what they say of themselves, what fills them in, what is kept out of sight; and that those that come along can be run."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.edges.platform.jars import ON_DEMAND
from loopwright.edges.platform.sql import Reading, variables
from loopwright.edges.platform.sql_script import Script, Values, filled, hidden, literal, read_script
from loopwright.errors import InvalidSettings, NotFound
from loopwright.settings import Settings

SQL = Path(__file__).resolve().parents[2] / "sql"
PIPELINES = [SQL / name for name in ("orchestrate.sql", "sinks/postgresql.sql", "sinks/parquet.sql", "sources/postgresql-cdc.sql")]
SECRET = "s3cret-of-the-database"
OUTSIDE = {"POSTGRES_URL": "jdbc:postgresql://db/x", "POSTGRES_USER": "me", "POSTGRES_PASSWORD": SECRET, "PARQUET_PATH": "/p"}
MADE = {"LLM_ENDPOINT": lambda: "http://m/v1/chat/completions", "LLM_MODEL": lambda: "m", "ROUTER_PROMPT": lambda: "it's a choice; [{}]"}


def values(**outside: str) -> Values:
    return Values({"TEAM": "sdr"}, {}, outside)


def script(tmp_path: Path, text: str) -> Script:
    (tmp_path / "a.sql").write_text(text)
    return read_script(tmp_path / "a.sql")


def test_a_script_says_what_it_is_and_what_it_needs(tmp_path: Path) -> None:
    found = script(tmp_path, "-- What it is for.\n\n-- pipeline: sink-x\n-- jars: postgresql, parquet\nSELECT 1;\n-- pipeline: other\n")
    assert (found.pipeline, found.jars) == ("sink-x", ("postgresql", "parquet"))


def test_a_script_that_says_nothing_is_run_and_ends(tmp_path: Path) -> None:
    found = script(tmp_path, "SELECT 1;\n-- pipeline: late\n")
    assert (found.pipeline, found.jars) == ("", ())


@pytest.mark.parametrize("name", ["", "Sink", "../x", "a b", "x" * 64, "-"])
def test_a_pipeline_whose_name_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidSettings, match="pipeline"):
        script(tmp_path, f"-- pipeline: {name}\nSELECT 1;\n")


def test_a_script_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.sql"):
        read_script(tmp_path / "nowhere.sql")


def test_what_is_known_comes_before_the_environment() -> None:
    assert filled("${TEAM} ${OTHER}", values(TEAM="mine", OTHER="o"), "a") == "sdr o"


def test_a_variable_that_is_empty_counts_as_unset() -> None:
    assert filled("${X:-else}", values(X=""), "a") == "else"
    with pytest.raises(NotFound, match=r"\$\{X\}"):
        filled("${X}", values(X=""), "a")


def test_a_default_is_for_what_is_not_set() -> None:
    assert filled("${X:-1 min} ${Y:-}", values(X="5 s"), "a") == "5 s "


def test_a_value_may_stand_in_a_file_and_is_a_secret_then(tmp_path: Path) -> None:
    (tmp_path / "it").write_text(f"{SECRET}\n")
    found = values(PLACE_FILE=str(tmp_path / "it"))
    assert filled("'${PLACE}'", found, "a") == f"'{SECRET}'"
    assert found.secrets == {SECRET}


def test_a_file_that_cannot_be_read_is_named_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="PLACE_FILE"):
        filled("${PLACE:-x}", values(PLACE_FILE=str(tmp_path / "nowhere")), "a")


def test_what_is_called_like_a_secret_is_one() -> None:
    found = values(POSTGRES_PASSWORD=SECRET, POSTGRES_USER="somebody")
    filled("${POSTGRES_PASSWORD} ${POSTGRES_USER}", found, "a")
    assert found.secrets == {SECRET}


def test_a_value_that_is_made_and_is_not_there_has_a_default() -> None:
    def none() -> str:
        raise KeyError("LLM_API_KEY")

    found = Values({}, {"LLM_API_KEY": none}, {})
    assert filled("${LLM_API_KEY:-none}", found, "a") == "none"
    assert found.secrets == set()


@given(st.text(), st.text())
def test_no_value_ends_the_literal_that_it_stands_in(value: str, other: str) -> None:
    text = filled("'${X}'", values(X=value or "x"), "a")
    assert text.count("'") % 2 == 0
    assert text[1:-1].replace("''", "'") == (value or "x")


@given(st.text(alphabet="ab'\\*", min_size=4, max_size=9), st.text(), st.text())
def test_a_secret_is_hidden_wherever_it_stands(secret: str, before: str, after: str) -> None:
    for form in (secret, literal(secret)):
        assert secret not in hidden(f"{before}{form}{after}", {secret}).replace("***", "")


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_the_scripts_that_come_along_are_pipelines_whose_values_are_known(path: Path) -> None:
    found = read_script(path)
    known = Values(variables(Settings(), "k:1", Reading(follow=True)), MADE, OUTSIDE)
    text = filled(found.text, known, path.name)
    assert found.pipeline
    assert set(found.jars) <= ON_DEMAND
    assert "${" not in text
    assert SECRET not in hidden(text, known.secrets)


def test_every_script_that_comes_along_is_looked_at() -> None:
    known = {*PIPELINES, SQL / "init.sql", SQL / "functions.sql", SQL / "sinks" / "postgresql-tables.sql"}
    assert set(SQL.rglob("*.sql")) == known


@pytest.mark.parametrize("path", sorted(SQL.rglob("*.sql")), ids=lambda path: path.name)
def test_the_client_reads_a_script_as_it_is_meant(path: Path) -> None:
    """It takes a line that ends with a semicolon for the end of a statement, a tab for a key, and in a set of statements the first END for
    the end of the set."""
    text = path.read_text()
    assert "\t" not in text
    assert text.isascii()
    assert not [line for line in text.splitlines() if line.startswith("--") and line.rstrip().endswith(";")]
    for found in re.findall(r"^EXECUTE STATEMENT SET BEGIN\n(.*?)^END;$", text, re.MULTILINE | re.DOTALL):
        assert not re.search(r"\bEND\b", found)
    code = re.sub(r"'(?:[^']|'')*'", "''", re.sub(r"^--.*$", "", text, flags=re.MULTILINE))
    assert code.count("(") == code.count(")")


def test_the_tables_of_the_database_are_those_that_are_written_to() -> None:
    made = (SQL / "sinks" / "postgresql-tables.sql").read_text()
    for table, columns in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\n\);", made, re.DOTALL):
        wanted = re.findall(r"^  (\w+) (?:text|integer|bigint|double|timestamp)", columns, re.MULTILINE)
        text = (SQL / "sinks" / "postgresql.sql").read_text()
        (written,) = re.findall(rf"CREATE TEMPORARY TABLE \w+ \(([^;]*?)\n\) WITH \([^;]*'table-name' = '{table}'\)", text)
        given = re.findall(
            r"^  `?(\w+)`? (?:STRING|INT|BIGINT|DOUBLE|TIMESTAMP)", written.rpartition("CREATE TEMPORARY TABLE")[2], re.MULTILINE
        )
        assert given == wanted, table
