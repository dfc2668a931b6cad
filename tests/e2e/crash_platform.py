"""A platform for crash tests: the real stack with the sales team behind a gate, loads of leads, and what became of them."""

import json
import os
import signal
import subprocess
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from email import message_from_bytes
from pathlib import Path

from loopwright.cli.send import SendOptions, send_documents
from loopwright.cli.stack import AGENTS, GATEWAY, at, stack_config
from loopwright.edges.kafka import read_all
from loopwright.edges.platform.config import Progress
from loopwright.edges.platform.services import Service
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import StackStatus, status
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError
from loopwright.message import Message, read
from loopwright.schemas import WORKFLOW_COMPLETED
from loopwright.settings import Platform, Settings
from tests.e2e.demo_process import COMMAND, COMMAND_S, PLAIN, ROOT, free_port

COUNT, AT_LEAST = 220, 200
FIRST_S, ALL_S = 120, 240


@dataclass(frozen=True)
class Load:
    """Leads that were sent together; `mark` is in their addresses."""

    mark: str
    workflows: frozenset[str]


class CrashPlatform:
    """The platform of a state folder. What is told while it starts is kept in `told`."""

    def __init__(self, home: Path, platform: Platform | None = None) -> None:
        urls = {f"{name}_url": f"http://127.0.0.1:{free_port()}" for name in (AGENTS, GATEWAY)}
        self.gate = home / "gate"
        settings = Settings(home=home, platform=platform or Platform(), **urls)
        config = stack_config(settings)
        slow = Service(AGENTS, lambda e: ["-m", "tests.e2e.slow_team", "--port", str(e.port(AGENTS)), "--gate", str(self.gate)])
        others = tuple(service for service in config.services if service.name != AGENTS)
        self.config = replace(config, services=(slow, *others), folder=ROOT)
        self._settings = settings
        self.told: list[Progress] = []

    def up(self) -> None:
        self.told.clear()
        self.settings = at(self._settings, Stack(self.config, self.told.append).up())

    def down(self) -> None:
        Stack(self.config).down(wipe=True)

    def status(self) -> StackStatus:
        return status(self.config)

    def healed(self, name: str) -> int:
        return next(one.healed for one in self.status().services if one.name == name)

    def pid(self, name: str) -> int:
        found = Stack(self.config).processes.running(name)
        assert found is not None, f"{name} does not run"
        return found.pid

    def kill(self, *names: str) -> None:
        for pid in [self.pid(name) for name in names]:
            os.kill(pid, signal.SIGKILL)

    def send(self, count: int = COUNT, at_least: int = AT_LEAST) -> Load:
        """Send leads, with the gate closed, and return when some have ended and the others are under way."""
        self.gate.unlink(missing_ok=True)
        mark = uuid.uuid4().hex[:8]
        common = {"company_name": "Engines Ltd", "lead_source": "webinar", "project_description": "We need a tool before Q3."}
        leads = [{"name": f"Lead {n}", "email": f"lead{n}@{mark}.example", **common} for n in range(count)]
        load = Load(mark, frozenset(send_documents(self.settings, leads, SendOptions())))
        assert wait_for(lambda: len(self.ends(load)) > 0, FIRST_S), "no workflow ended"
        under_way = count - len(self.ends(load))
        assert under_way >= at_least, f"only {under_way} workflows were under way"
        return load

    def let_go(self) -> None:
        self.gate.touch()

    def ends(self, load: Load) -> list[Message]:
        """The results of its workflows; empty while Kafka does not answer."""
        with suppress(LoopwrightError):
            records = read_all(self.settings, [self.settings.topics.results])
            found = [read(record) for record in records if (record.key or b"").decode() in load.workflows]
            return [message for message in found if isinstance(message, Message)]
        return []

    def mails(self, load: Load) -> Counter[tuple[str, str]]:
        """Its mails in the outbox by recipient and subject."""
        files = (self.config.home / "outbox" / "new").iterdir()
        found = (message_from_bytes(file.read_bytes()) for file in files)
        return Counter((str(m["To"]), str(m["Subject"])) for m in found if f"@{load.mark}.example" in str(m["To"]))

    def run(self, *args: str) -> dict[str, object]:
        environment = PLAIN | {"LOOPWRIGHT_HOME": str(self.config.home)}
        done = subprocess.run([*COMMAND, *args, "--json"], capture_output=True, env=environment, cwd=ROOT, timeout=COMMAND_S, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return dict(json.loads(done.stdout))

    def assert_nothing_lost_and_nothing_twice(self, load: Load) -> None:
        assert wait_for(lambda: len({m.workflow for m in self.ends(load)}) == len(load.workflows), ALL_S), (
            f"{len(load.workflows) - len({m.workflow for m in self.ends(load)})} workflows have not ended"
        )
        assert {message.type for message in self.ends(load)} == {WORKFLOW_COMPLETED}
        mails = self.mails(load)
        assert set(mails.values()) == {1}
        assert len({to for to, _ in mails}) == len(load.workflows)
        proof = self.run("verify")
        assert (proof["holds"], proof["broken"]) == (True, [])
