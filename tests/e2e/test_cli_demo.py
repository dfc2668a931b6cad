"""The demo as whoever installed the wheel runs it: a process, real Kafka, real Flink, the real agents; and the commands meanwhile."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from loopwright.deadletter import original_bytes
from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.platform.ports import answers
from loopwright.edges.platform.waiting import wait_for
from loopwright.message import read
from loopwright.settings import Settings
from tests.e2e.demo_process import COMMAND, COMMAND_S, ROOT, START_S, STOP_S, Demo, free_port, install


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    install(folder / "wheels", folder / "site")
    demo = Demo(folder / "home", {"PYTHONPATH": str(folder / "site")}, folder)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.stop()


pytestmark = pytest.mark.timeout(START_S + STOP_S + COMMAND_S)
LEAD = {"name": "Ada", "email": "ada@engines.example", "company_name": "Engines Ltd", "lead_source": "demo request"}


def test_it_runs_from_the_wheel_which_claims_no_name_but_its_own(demo):
    asked = [sys.executable, "-c", "from loopwright.edges.platform.code import ROOT; print(ROOT)"]
    root = subprocess.run(asked, env=demo.env, cwd=demo.folder, capture_output=True, text=True, timeout=COMMAND_S, check=True)
    assert root.stdout.strip() == str(demo.folder / "site" / "loopwright" / "bundle")
    assert {one.name for one in (demo.folder / "site").iterdir() if one.suffix != ".dist-info"} <= {"loopwright", "bin", ".lock"}


def test_every_one_of_the_ten_leads_is_accounted_for(demo):
    totals = demo.said["totals"]
    assert (totals["leads"], totals["accounted_for"]) == (10, 10)
    assert totals["ends"] == {"completed": 9, "refused": 1}
    refused = next(lead for lead in demo.said["leads"] if lead["status"] == "failed")
    assert "email" in refused["reason"]


def test_each_completed_lead_says_path_score_and_the_strategy_of_each_hop(demo):
    for lead in demo.said["leads"]:
        if lead["status"] == "completed":
            assert lead["path"][0] == "lead-ingestion"
            assert lead["path"][-1] == "send-email"
            assert 0 <= lead["score"] <= 100
            assert len(lead["strategies"]) == len(lead["path"]) + 1
            assert lead["duration_ms"] > 0


def test_a_lead_that_is_sent_while_the_demo_is_up_is_completed_and_every_step_has_its_reason(demo):
    sent = demo.run("send", "-", "--wait", stdin=json.dumps(LEAD).encode())
    story = demo.run("trace", sent[0]["workflow"])
    assert story["status"] == "completed"
    decisions = [step["detail"] for step in story["steps"] if step["kind"] == "decision" and not step["ignored"]]
    assert all(decision["reason"] and decision["strategy"] for decision in decisions)
    replies = [step["detail"] for step in story["steps"] if step["kind"] == "reply"]
    assert [reply["agent"] for reply in replies] == story["path"]
    assert all(reply["attempts"] >= 1 and reply["status"] == 200 for reply in replies)


def test_bytes_that_are_no_json_become_a_dead_letter_and_the_partition_goes_on(demo):
    refused = demo.run("send", "-", "--raw", "--wait", stdin=b"\xff\xfe", code=1)
    assert refused[0]["status"] == "rejected"
    assert [demo.run("send", "-", "--raw", "--wait", stdin=json.dumps(LEAD).encode())[0]["status"] for _ in range(2)] == ["completed"] * 2


BAD_BYTES = {
    "invalid-utf8": b'{"name": "\xff\xfe"}',
    "invalid-json": b"Dear orchestrator, please find my lead attached.",
    "too-large": b'{"name": "' + b"x" * 2_000_000 + b'"}',
    "too-deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "duplicate-key": b'{"name": "Ada", "name": "Eve"}',
    "not-a-number": b'{"score": NaN}',
    "not-an-object": b'["Ada"]',
    "unknown-schema-version": b'{"specversion": "1.0", "schemaversion": 99}',
    "missing-attribute": b'{"specversion": "1.0", "schemaversion": 1, "id": "1", "source": "/t", "type": "x", "data": {}}',
    "wrong-type": b'{"specversion": "1.0", "schemaversion": 1, "id": "1", "source": "/t", "workflowid": "w", "hop": "three", "type": "x"}',
    "unknown-type": b'{"specversion": "1.0", "schemaversion": 1, "id": "1", "source": "/t", "workflowid": "w", "type": "x", "data": {}}',
    "number-out-of-range": b'{"score": 123456789012345678901234567890}',
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_each_kind_of_bad_bytes_is_kept_whole_in_a_dead_letter_and_its_partition_goes_on(demo, case):
    settings = Settings(home=demo.home)
    raw, key = BAD_BYTES[case], f"key-{case}".encode()
    with Producer(settings) as producer:
        for value in (None, raw, json.dumps(LEAD).encode()):  # a tombstone, the bad bytes, a good lead: one partition, one after the other
            producer.send(settings.topics.messages, key, value)
    where = {r.value: (r.partition, r.offset) for r in read_all(settings, [settings.topics.messages]) if r.key == key}

    def letters():
        found = [read(record).data for record in read_all(settings, [settings.topics.dead_letters])]
        return [data for data in found if (data["partition"], data["offset"]) == where[raw]] or None

    (letter,) = wait_for(letters, 30)
    assert original_bytes(letter) == raw
    assert letter["cause"] == {"not-a-number": "invalid-json"}.get(case, case)
    assert (letter["topic"], letter["stage"], bool(letter["why"]), bool(letter["remedy"])) == ("agent-messages", "parse", True, True)
    partition, offset = where[json.dumps(LEAD).encode()]
    workflow = f"agent-messages-{partition}-{offset}"
    assert wait_for(lambda: [r for r in read_all(settings, [settings.topics.results]) if r.key == workflow.encode()] or None, 30)
    assert where[None] not in [(d["partition"], d["offset"]) for d in map(_data, read_all(settings, [settings.topics.dead_letters]))]


def test_no_bad_bytes_restarted_the_job_or_a_process(demo):
    now = demo.run("status")
    assert (now["job"]["state"], now["job"]["restarts"], now["job"]["healed"]) == ("RUNNING", 0, 0)
    assert {service["name"]: service["healed"] for service in now["services"] if service["healed"]} == {}


def sql(demo: Demo, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "sql", *args], capture_output=True, text=True, env=demo.env, cwd=demo.folder, timeout=COMMAND_S, check=False
    )


def cells(said: str) -> set[tuple[str, ...]]:
    return {tuple(part.strip() for part in line.strip("| ").split("|")) for line in said.splitlines() if line.startswith("|")}


def test_a_script_in_the_sql_client_shows_its_rows_and_starts_a_workflow(demo, tmp_path):
    script = tmp_path / "script.sql"
    script.write_text(
        "SELECT workflow, ended FROM ends WHERE workflow LIKE '0_-%';\n"
        f"INSERT INTO agent_messages (workflow, record) VALUES ('by-sql', '{json.dumps(LEAD)}');\n"
        "SELECT contract_check('lead-ingestion', redact(JSON_QUERY(record, '$.data.document'))) IS NULL AS `kept`,\n"
        "  JSON_VALUE(route('', JSON_QUERY(record, '$.data.document')), '$.targets[0].agent') AS agent\n"
        "FROM agent_messages WHERE type = 'loopwright.workflow.started' AND workflow LIKE '01%';\n"
    )
    done = sql(demo, "-f", str(script))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = cells(done.stdout)
    assert len({row for row in rows if row[1:] == ("completed",)}) == 8
    assert ("TRUE", "lead-ingestion") in rows
    settings = Settings(home=demo.home)
    assert wait_for(lambda: [r for r in read_all(settings, [settings.topics.results]) if b"Engines" in (r.value or b"")] or None, 30)


def test_a_statement_that_fails_ends_the_sql_client_with_1_and_its_reason(demo):
    done = sql(demo, "-e", "SELECT * FROM nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Object 'nowhere' not found" in done.stderr


def readme_block(language):
    """The first block of this language in the README."""
    text = (ROOT / "README.md").read_text()
    return text.split(f"```{language}\n", 1)[1].split("```", 1)[0]


@pytest.mark.parametrize("reply", ["response", "callback"])
def test_an_agent_of_one_s_own_as_the_readme_writes_it_joins_the_running_job(demo, tmp_path, reply):
    port, team = free_port(), f"demo-{reply}"
    folder = tmp_path / "greeter"
    folder.mkdir()
    definition = readme_block("yaml").replace(":8805", f":{port}").replace("team: demo", f"team: {team}\nreply: {reply}")
    (folder / "greeter.yaml").write_text(definition)
    (folder / "greeter.py").write_text(readme_block("python").replace("8805", str(port)))
    served = [sys.executable, "greeter/greeter.py"]
    with subprocess.Popen(served, cwd=tmp_path, env=demo.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
        try:
            assert wait_for(lambda: answers(port), 30)
            assert [change["change"] for change in demo.run("agents", "apply", str(folder))["changes"]] == ["new"]
            sent = demo.run("send", "-", "--team", team, "--wait", stdin=b'{"name": "Ada"}')
        finally:
            agent.terminate()
    assert sent[0]["status"] == "completed"
    story = demo.run("trace", sent[0]["workflow"])
    (replied,) = [step["detail"] for step in story["steps"] if step["kind"] == "reply"]
    assert replied["output"] == {"greeting": "Hello Ada"}


def test_a_workflow_that_was_parked_over_an_agent_that_is_down_is_resumed_and_another_is_cancelled(demo, tmp_path):
    port = free_port()
    folder = tmp_path / "greeter"
    folder.mkdir()
    quick = "team: late\nretry: {attempts: 2, initial: 10ms}"
    (folder / "greeter.yaml").write_text(readme_block("yaml").replace(":8805", f":{port}").replace("team: demo", quick))
    (folder / "greeter.py").write_text(readme_block("python").replace("8805", str(port)))
    demo.run("agents", "apply", str(folder))
    sent = demo.run("send", "-", "--team", "late", "--wait", stdin=b'[{"name": "Ada"}, {"name": "Eve"}]', code=1)
    assert [one["status"] for one in sent] == ["parked", "parked"]
    ada, eve = (one["workflow"] for one in sent)
    with subprocess.Popen([sys.executable, "greeter/greeter.py"], cwd=tmp_path, env=demo.env, stdout=subprocess.DEVNULL) as agent:
        try:
            assert wait_for(lambda: answers(port), 30)
            demo.run("resume", ada, "--reason", "the agent is up")
            assert wait_for(lambda: demo.run("trace", ada)["status"] == "completed", 30)
        finally:
            agent.terminate()
    demo.run("cancel", eve, "--reason", "not needed")
    assert wait_for(lambda: demo.run("trace", eve)["status"] == "cancelled", 30)
    assert demo.run("resume", ada, code=1)["error"] == "Conflict"
    assert demo.run("cancel", eve, code=1)["error"] == "Conflict"


def mails_to(demo, address):
    return [mail for mail in (demo.home / "outbox" / "new").glob("*.eml") if address in mail.read_text()]


def test_a_step_is_retried_with_its_key_and_sends_no_second_mail_and_with_a_new_key_it_does(demo):
    address = "retried@engines.example"
    sent = demo.run("send", "-", "--wait", stdin=json.dumps(LEAD | {"email": address}).encode())
    workflow, mails = sent[0]["workflow"], len(mails_to(demo, address))
    assert mails > 0

    def completed_again(*options):
        hop = demo.run("resume", workflow, *options)["hop"]

        def story():
            told = demo.run("trace", workflow)
            return told if told["status"] == "completed" and told["hop"] > hop else None

        return wait_for(story, 60)

    first = completed_again("--from", "1")
    assert first["path"] == sent[0]["path"]
    assert len(mails_to(demo, address)) == mails
    last = max(step["hop"] for step in first["steps"] if step["kind"] == "reply")
    assert completed_again("--from", str(last), "--new-key")["path"] == sent[0]["path"]
    assert len(mails_to(demo, address)) == 2 * mails
    proof = demo.run("verify")
    assert proof["holds"], proof["broken"]
    assert proof["witness"]["executions"] > 0
    assert demo.run("resume", workflow, "--from", "99", code=1)["error"] == "NotFound"


def test_where_one_candidate_has_failed_for_good_another_takes_over_and_the_dead_letter_says_who(demo, tmp_path):
    port, dead = free_port(), free_port()
    folder = tmp_path / "greeter"
    folder.mkdir()
    alive = readme_block("yaml").replace(":8805", f":{port}").replace("team: demo", "team: spare")
    down = alive.replace(f":{port}", f":{dead}").replace("name: greeter", "name: poet", 1) + "retry: {attempts: 2, initial: 10ms}\n"
    (folder / "greeter.yaml").write_text(alive)
    (folder / "poet.yaml").write_text(re.sub(r"description: .*", "description: Writes a poem on steam engines.", down))
    (folder / "greeter.py").write_text(readme_block("python").replace("8805", str(port)))
    demo.run("agents", "apply", str(folder))
    with subprocess.Popen([sys.executable, "greeter/greeter.py"], cwd=tmp_path, env=demo.env, stdout=subprocess.DEVNULL) as agent:
        try:
            assert wait_for(lambda: answers(port), 30)
            sent = demo.run("send", "-", "--team", "spare", "--wait", stdin=b'{"name": "poem on steam engines"}')
        finally:
            agent.terminate()
    assert (sent[0]["status"], sent[0]["path"]) == ("completed", ["greeter"])
    (letter,) = [one for one in demo.run("dlq", "list")["letters"] if one["workflow"] == sent[0]["workflow"]]
    told = demo.run("dlq", "show", letter["id"])
    assert (told["data"]["agent"], told["data"]["attempts"]) == ("poet", 2)
    assert told["went_on"].startswith("hop 2: greeter")


def test_a_lead_from_the_form_is_worked(demo):
    form = {**LEAD, "name": "Grace", "job_title": "", "company_website": "", "project_description": ""}
    answer = requests.post(f"{demo.env['LOOPWRIGHT_GATEWAY_URL']}/leads", data=form, timeout=10)
    assert answer.ok
    workflow = re.search(r"/workflows/([\w.:-]+)", answer.url + answer.text).group(1)
    assert wait_for(lambda: demo.run("trace", workflow)["status"] == "completed", 30)


def _data(record):
    return read(record).data


def test_the_agents_are_published_and_the_status_is_well(demo):
    assert {agent["name"] for agent in demo.run("agents", "list")["agents"]} >= {"lead-ingestion", "lead-scoring", "send-email"}
    assert {change["change"] for change in demo.run("agents", "apply")["changes"]} == {"unchanged"}
    assert demo.run("status")["ok"] is True


def test_ctrl_c_stops_everything_and_leaves_nothing_behind(demo):
    code, err = demo.stop()
    assert code == 0, err
    assert demo.left() == []
