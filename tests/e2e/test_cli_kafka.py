"""The commands as processes, against a broker: librdkafka's mock, which speaks Kafka's protocol on a port of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka as ck
import pytest

from loopwright import schemas
from loopwright.edges import kafka
from loopwright.message import Message, encode, record_id
from loopwright.settings import Settings, Topics, read_settings

TOPICS = Topics()
DEADLINE_S = 60
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
COMMAND = [sys.executable, "-c", "from loopwright.cli.main import main; main()"]


@dataclass
class Broker:
    """A mock broker, and the commands that talk to it."""

    settings: Settings
    env: dict[str, str]
    folder: Path

    def run(self, *args: str, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [*COMMAND, *args], input=stdin, capture_output=True, env=self.env, cwd=self.folder, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        return done

    def json(self, *args: str, stdin: bytes = b"", code: int = 0) -> object:
        return json.loads(self.run(*args, "--json", stdin=stdin, code=code).stdout)

    def start(self, *args: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*COMMAND, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, cwd=self.folder
        )

    def say(self, topic: str, kind: str, workflow: str, hop: int, data: dict[str, object]) -> None:
        message = Message(record_id(workflow, hop, "", kind), kind, "/test", workflow, data, hop, time_ms=int(time.time() * 1000))
        with kafka.Producer(self.settings) as producer:
            producer.send(topic, workflow.encode(), encode(message))

    def complete(self, workflow: str) -> None:
        self.say(TOPICS.messages, schemas.SETTLED, workflow, 1, {"outcome": "complete", "reason": "done"})


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    mock = ck.Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 2})
    servers = ",".join(f"{b.host}:{b.port}" for b in mock.list_topics(timeout=10).brokers.values())
    for name in TOPICS.model_dump().values():
        mock.list_topics(name, timeout=10)  # the mock makes a topic when it is asked for
    settings = read_settings(kafka={"bootstrap_servers": servers})
    yield Broker(settings, PLAIN | {"LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": servers}, tmp_path_factory.mktemp("cli"))
    del mock


def line_with(process: "subprocess.Popen[bytes]", wanted: bytes) -> bytes:
    """The first line on stdout that holds `wanted`; the test's own time limit ends a wait in vain."""
    assert process.stdout is not None
    for line in process.stdout:
        if wanted in line:
            return line
    raise AssertionError(f"the command ended without saying {wanted!r}")


def interrupted(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err
    return out, err


def test_documents_are_sent_and_each_is_a_workflow_that_can_be_traced(broker):
    sent = broker.json("send", "-", stdin=b'{"name": "Ada"}\n{"name": "Grace"}\n')
    assert sent["sent"] == 2
    story = broker.json("trace", sent["workflows"][1])
    assert story["status"] == "waiting for its first decision"
    assert story["steps"][0]["detail"]["document"] == {"name": "Grace"}


def test_what_is_sent_says_what_to_type_next(broker):
    assert b"next: loopwright trace " in broker.run("send", "-", stdin=b'{"name": "Ada"}').stdout


def test_a_file_is_sent_with_id_and_options(broker):
    (broker.folder / "lead.json").write_text('{"name": "Ada"}')
    broker.run("send", "lead.json", "--id", "with-options", "--team", "t1", "--deadline", "90s", "--hop-limit", "4")
    detail = broker.json("trace", "with-options")["steps"][0]["detail"]
    assert (detail["team"], detail["deadline_ms"], detail["hop_limit"]) == ("t1", 90_000, 4)


def test_an_id_that_is_taken_is_a_conflict_but_the_same_start_again_is_not(broker):
    broker.run("send", "-", "--id", "taken", stdin=b'{"a": 1}')
    broker.run("send", "-", "--id", "taken", stdin=b'{"a": 1}')
    error = broker.json("send", "-", "--id", "taken", stdin=b'{"a": 2}', code=1)
    assert error["error"] == "Conflict"


def test_raw_bytes_are_sent_as_they_are_and_named_by_their_position(broker):
    sent = broker.json("send", "-", "--raw", stdin=b'{"bare": true}')
    assert broker.json("trace", sent["workflows"][0])["document"] == {"bare": True}
    refused = broker.json("send", "-", "--raw", stdin=b"\xff")["workflows"][0]
    story = broker.json("trace", refused)
    assert (story["status"], story["steps"][0]["detail"]["cause"]) == ("rejected", "invalid-utf8")


def test_send_wait_ends_when_the_workflow_completes(broker):
    process = broker.start("send", "-", "--wait")
    process.stdin.write(b'{"name": "Ada"}')
    process.stdin.close()
    workflow = line_with(process, b"sent").split()[1].decode()
    broker.complete(workflow)
    assert b"completed" in line_with(process, b"completed")
    assert process.wait(DEADLINE_S) == 0
    process.stdout.close()
    process.stderr.close()


def test_send_wait_fails_when_the_workflow_does_not_complete(broker):
    broker.say(TOPICS.results, schemas.WORKFLOW_FAILED, "doomed", 1, {"hops": 0, "reason": "no agent"})
    shown = broker.json("send", "-", "--id", "doomed", "--wait", stdin=b'{"name": "Ada"}', code=1)
    assert (shown[0]["status"], shown[0]["reason"]) == ("failed", "no agent")


def test_send_wait_says_what_is_stuck_when_time_is_up(broker):
    error = broker.json("send", "-", "--wait", "--timeout", "500ms", stdin=b'{"name": "Ada"}', code=1)
    assert "waiting for its first decision" in error["why"]


def test_input_that_is_no_json_is_refused_with_line_and_column(broker):
    done = broker.run("send", "-", stdin=b'{"name": "Ada",\n "b": }', code=1)
    assert b"line 2, column 7" in done.stderr
    assert b"remedy:" in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_watch_prints_changes_as_lines_where_there_is_no_terminal_and_ends_cleanly(broker):
    process = broker.start("watch")
    broker.run("send", "-", "--id", "watched", stdin=b'{"name": "Ada"}')
    assert b"waiting for its first decision" in line_with(process, b"watched")
    broker.complete("watched")
    assert b"completed" in line_with(process, b"watched")
    interrupted(process)


def test_watch_json_gives_a_json_document_per_line(broker):
    process = broker.start("watch", "--json")
    broker.run("send", "-", "--id", "watched-json", stdin=b'{"name": "Ada"}')
    assert json.loads(line_with(process, b"watched-json"))["workflow"] == "watched-json"
    out, _ = interrupted(process)
    assert all(json.loads(line) for line in out.splitlines())


def test_watch_once_shows_the_workflows_as_they_stand(broker):
    broker.run("send", "-", "--id", "once", stdin=b'{"name": "Ada"}')
    assert "once" in [row["workflow"] for row in broker.json("watch", "--once")["workflows"]]
    assert b"workflows:" in broker.run("watch", "--once").stdout


def test_trace_follow_prints_steps_until_the_end(broker):
    broker.run("send", "-", "--id", "followed", stdin=b'{"name": "Ada"}')
    process = broker.start("trace", "followed", "--follow")
    line_with(process, b"started with a document")
    broker.complete("followed")
    line_with(process, b"completed: done")
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err.decode()
    assert b"workflow followed" in out


def test_an_unknown_workflow_is_not_found_and_near_ones_are_named(broker):
    broker.run("send", "-", "--id", "lead-0042", stdin=b"{}")
    error = broker.json("trace", "lead-0024", code=1)
    assert (error["error"], error["remedy"]) == ("NotFound", "did you mean lead-0042?")


DEFINITION = """
name: {name}
team: t1
version: {version}
description: Says hello.
endpoint: {endpoint}
input: {{type: object, properties: {{name: {{type: string}}}}, required: [name]}}
output: {{type: object, properties: {{{output}: {{type: string}}}}, required: [{output}]}}
"""


def definition(folder: Path, version: int = 1, endpoint: str = "http://127.0.0.1:1/a", output: str = "greeting") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "greeter.yaml").write_text(DEFINITION.format(name="greeter", version=version, endpoint=endpoint, output=output))


def test_agents_are_published_listed_moved_and_never_changed(broker):
    definition(broker.folder / "team")
    changes = lambda: [c["change"] for c in broker.json("agents", "apply", "team")["changes"]]  # noqa: E731
    assert broker.json("agents", "apply", "team", "--dry-run")["changes"][0]["change"] == "new"
    assert changes() == ["new"]
    assert changes() == ["unchanged"]
    assert broker.json("agents", "apply", "team", "--again")["changes"][0]["change"] == "again"
    definition(broker.folder / "team", endpoint="http://127.0.0.1:2/a")
    assert changes() == ["moved"]
    listed = next(a for a in broker.json("agents", "list", "--team", "t1")["agents"] if a["name"] == "greeter")
    assert (listed["endpoint"], listed["input"]) == ("http://127.0.0.1:2/a", [{"field": "name", "required": True}])
    definition(broker.folder / "team", output="farewell")
    error = broker.json("agents", "apply", "team", code=1)
    assert (error["error"], error["remedy"]) == ("Conflict", "greeter: raise version to 2")
    definition(broker.folder / "team", version=2, output="farewell")
    assert changes() == ["new"]
    assert b"1 (older)" in broker.run("agents", "list").stdout


def test_agents_check_names_every_problem_with_file_and_line(broker):
    definition(broker.folder / "wrong", endpoint="nowhere")
    (broker.folder / "wrong" / "other.yaml").write_text("name: Other\n")
    done = broker.run("agents", "check", "wrong", code=1)
    assert b"greeter.yaml:6" in done.stderr
    assert b"other.yaml:1" in done.stderr


def test_a_broker_that_does_not_answer_is_exit_code_3(broker):
    env = PLAIN | {"LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    done = subprocess.run([*COMMAND, "watch", "--once"], capture_output=True, env=env, cwd=broker.folder, timeout=DEADLINE_S, check=False)
    assert done.returncode == 3
    assert b"remedy: start the local platform" in done.stderr


def test_wrong_usage_and_wrong_settings_are_exit_code_2(broker):
    broker.run("send", code=2)
    broker.run("send", "-", "--deadline", "soon", code=2)
    broker.run("send", "-", "--raw", "--team", "t", code=2)
    env = PLAIN | {"LOOPWRIGHT_LLM_TIMEOUT_S": "soon"}
    done = subprocess.run([*COMMAND, "watch", "--once"], capture_output=True, env=env, cwd=broker.folder, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2
    assert b"LOOPWRIGHT_LLM_TIMEOUT_S" in done.stderr


def test_the_help_needs_no_heavy_import():
    heavy = ("pydantic", "confluent_kafka", "aiohttp", "pyflink")
    code = f"import sys, loopwright.cli.main; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=DEADLINE_S, check=True).stdout.strip() == b"[]"
