"""Flink's SQL client on a cluster: what it is told before one's own statements, how it is run, and whether a script went well.

The client itself ends with 0 where a statement of a script has failed, and goes no further; what it printed tells.
"""

import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopwright.edges.java_client import java_properties
from loopwright.edges.platform.sql_script import filled, hidden, literal
from loopwright.errors import PlatformFailed
from loopwright.settings import Settings

WIDEST = "80"
# a record without the prefix that names its schema: a zero and four bytes, fewer letters where these happen to be one of UTF-8
_BODY = r"REGEXP_REPLACE(record, '^\x00[\s\S]{0,4}(?=\{)', '')"
_JOB = re.compile(r"Job ID: ([0-9a-f]{32})\b")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ECHO = ("Flink SQL> ", "> ")
_RESULT = re.compile(r"\+-{2,}|\[(?:INFO|WARN|ERROR)\]|Empty set|Job ID:")
_CHATTER = re.compile(
    r"$|Successfully initialized from sql script|Command history file path|\[INFO\] Execut(?:ing SQL from file|e statement succeeded)"
    r"|Shutting down the session\.\.\.$|done\.$|.*org\.jline\.|WARNING: |SLF4J"
)
_FAILED, _NOT_BEGUN = "[ERROR]", "Failed to initialize from sql script"


@dataclass(frozen=True, slots=True)
class Reading:
    """How tables are read: what is there now, each query once and to its end; or, with `follow`, what comes as well, until it is ended."""

    follow: bool = False

    def options(self) -> dict[str, str]:
        """The session's options."""
        return {
            "execution.runtime-mode": "streaming" if self.follow else "batch",
            "sql-client.execution.result-mode": "tableau",
            "table.display.max-column-width": WIDEST,
            "table.dml-sync": "false" if self.follow else "true",
            "table.local-time-zone": "UTC",
            **({} if self.follow else {"restart-strategy.type": "none"}),
            "python.fn-execution.bundle.time": "50",  # how long a row waits for others that a function takes together with it
        }


def variables(settings: Settings, brokers: str, reading: Reading) -> dict[str, str]:
    """What stands for the `${...}` of a script: topics by their names in the settings, in capitals; how Kafka is reached; its body."""
    topics = {name.upper(): literal(value) for name, value in settings.topics.model_dump().items()}
    client = {"bootstrap.servers": brokers, "isolation.level": "read_committed", **java_properties(settings.kafka.client)}
    options = " ".join(f"'properties.{literal(name)}' = '{literal(value)}'," for name, value in client.items())
    bounded = "unbounded" if reading.follow else "latest-offset"
    return {**topics, "KAFKA": options, "BODY": _BODY, "BOUNDED_MODE": bounded, "TEAM": literal(settings.team)}


def preamble(reading: Reading, values: Mapping[str, str], scripts: Sequence[Path], more: Mapping[str, str]) -> str:
    """What the client runs first: the session's options and `more` of them, then these scripts with their `${...}` filled in."""
    told = "".join(f"SET '{name}' = '{literal(value)}';\n" for name, value in {**reading.options(), **more}.items())
    return told + "\n".join(filled(script.read_text(encoding="utf-8"), values, script.name) for script in scripts)


def interactive(args: Sequence[str], environment: Mapping[str, str]) -> int:
    """Hand the terminal to the client; its exit code."""
    return subprocess.run(args, env=dict(environment), check=False).returncode


def script(args: Sequence[str], environment: Mapping[str, str], log: Path, submitted: list[str], secrets: Collection[str] = ()) -> None:
    """Run a script; the results of its statements go to stdout as they come, without these secrets. Raises PlatformFailed where one failed.

    The ids of the jobs that were left running are added to `submitted`, whatever comes after them. `log` is the client's own: it alone
    holds why tables and views could not be made.
    """
    said: list[str] = []  # from the first failure on
    begin = log.stat().st_size if log.is_file() else 0
    with subprocess.Popen(
        args, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as client:
        for line in client.stdout or ():
            result = shown(line)
            if result is None:
                continue
            submitted += _JOB.findall(result)
            result = hidden(result, secrets)
            if said or failed([result]):
                said.append(result)
            else:
                sys.stdout.write(f"{result}\n")
                sys.stdout.flush()
    if said and said[0].startswith(_NOT_BEGUN):
        logged = log.read_bytes()[begin:].decode(errors="replace") if log.is_file() else ""
        raise PlatformFailed("the tables could not be made", hidden(reason(logged.splitlines()), secrets), f"read {log}")
    if client.returncode or said:
        raise PlatformFailed("a statement failed", reason(said), "correct it; those after it were not run")


def shown(line: str) -> str | None:
    """What is to be seen of a line that the client printed: no echo of a statement, no colours, no words about itself; None for nothing."""
    text = _COLOUR.sub("", line).rstrip("\n\r")
    if text.startswith(_ECHO):
        result = _RESULT.search(text)
        text = text[result.start() :] if result else ""
    return None if _CHATTER.match(text) else text


def failed(said: Sequence[str]) -> bool:
    """Whether a statement failed, by what is to be seen of what the client printed."""
    return any(line.startswith((_FAILED, _NOT_BEGUN)) for line in said)


def reason(said: Sequence[str]) -> str:
    """The reason that the client gave for its last error."""
    lines = [_COLOUR.sub("", line) for line in said]
    at = max((number for number, line in enumerate(lines) if _FAILED in line), default=len(lines))
    found = [line.strip() for line in lines[at + 1 :] if line.strip() and not line.lstrip().startswith(("at ", "<"))]
    return "\n".join(found[:3]) or "the client ended without a word"
