"""What Flink's SQL client is told, and how a script that failed is told from one that went well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.edges.platform.sql import Reading, failed, reason, shown, variables
from loopwright.edges.platform.sql_script import filled
from loopwright.errors import NotFound
from loopwright.settings import Kafka, Settings

BLUE, RED, OFF = "\x1b[34;1m", "\x1b[31;1m", "\x1b[0m"
CHATTER = [
    "Successfully initialized from sql script: /h/run/sql/init.sql",
    "Nov 21, 2026 11:56:20 PM org.jline.utils.Log logr",
    "WARNING: Unable to create a system terminal, creating a dumb terminal",
    f"{BLUE}[INFO] Executing SQL from file.{OFF}",
    "",
    "Command history file path: /h/run/sql/history",
    f"Flink SQL> CREATE VIEW a AS{BLUE}[INFO] Execute statement succeeded.{OFF}",
    "Flink SQL> ",
    "> FROM ends",
    "Shutting down the session...",
    "done.",
]
REFUSED = [
    *CHATTER[:6],
    f"Flink SQL> SELECT * FROM nowhere{RED}[ERROR] Could not execute SQL statement. Reason:",
    f"org.apache.calcite.sql.validate.SqlValidatorException: Object 'nowhere' not found{OFF}",
    *CHATTER[-3:],
]


def seen(lines: list[str]) -> list[str]:
    return [found for line in lines if (found := shown(f"{line}\n")) is not None]


def test_what_the_client_says_about_itself_is_not_shown() -> None:
    assert seen(CHATTER) == []


def test_rows_are_shown_as_they_are() -> None:
    rows = ["+---------+", "| [ERROR] |", "+---------+", "| > done. |", "+---------+", "1 row in set (0.1 seconds)"]
    assert seen([f"Flink SQL> SELECT COUNT(*){rows[0]}", *rows[1:]]) == rows
    assert not failed(rows)


def test_a_statement_that_failed_is_told_with_its_reason() -> None:
    said = seen(REFUSED)
    assert failed(said)
    assert reason(said) == "org.apache.calcite.sql.validate.SqlValidatorException: Object 'nowhere' not found"


def test_tables_that_could_not_be_made_are_a_failure() -> None:
    assert failed(seen(["Failed to initialize from sql script: /h/init.sql. Please refer to the LOG for detailed error messages."]))


def test_an_update_that_was_done_is_told() -> None:
    assert seen([f"Flink SQL> {BLUE}[INFO] Complete execution of the SQL update statement.{OFF}"]) == [
        "[INFO] Complete execution of the SQL update statement."
    ]


def test_a_hole_without_a_value_is_named() -> None:
    with pytest.raises(NotFound, match=r"\$\{NOWHERE\}"):
        filled("SELECT * FROM ${NOWHERE}", {"MESSAGES": "m"}, "a.sql")


def test_json_paths_and_dollars_stay_as_they_are() -> None:
    assert filled("JSON_VALUE(record, '$.id') $1 ${MESSAGES}", {"MESSAGES": "m"}, "a.sql") == "JSON_VALUE(record, '$.id') $1 m"


def test_a_login_to_kafka_reaches_the_tables_in_javas_words() -> None:
    client = {"security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN", "sasl.username": "o'neil", "sasl.password": "s"}
    settings = Settings(kafka=Kafka(bootstrap_servers="k:1", client=client))
    said = variables(settings, "k:1", Reading())["KAFKA"]
    assert "'properties.bootstrap.servers' = 'k:1'," in said
    assert "username=\"o''neil\"" in said


@given(st.text())
def test_no_value_ends_the_literal_that_it_stands_in(value: str) -> None:
    client = variables(Settings(kafka=Kafka(client={"client.id": value})), "k:1", Reading())["KAFKA"]
    assert client.count("'") % 2 == 0


def test_a_query_that_follows_has_no_end() -> None:
    settings = Settings()
    assert variables(settings, "k:1", Reading())["BOUNDED_MODE"] == "latest-offset"
    assert variables(settings, "k:1", Reading(follow=True))["BOUNDED_MODE"] == "unbounded"
    assert Reading().options()["execution.runtime-mode"] == "batch"
