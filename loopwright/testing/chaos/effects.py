"""What the agents did to the world, by three witnesses: the mails in the outbox, the notes of each run, the Idempotency-Key store. Pure
but for the reading.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.utils import parseaddr
from pathlib import Path

import orjson

from loopwright.agent.idempotency.opening import FILE
from loopwright.agent.idempotency.sqlite import SqliteStore
from loopwright.clock import now_ms
from loopwright.testing.chaos.load import End, Lead, Tally
from loopwright.testing.chaos.slow_agents import DONE, RUNS
from loopwright.testing.chaos.team import Team, address

MAILS_OF = {"active-outreach": 1, "nurture-campaign": 3}
Mails = Mapping[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class Run:
    """A note of the witness."""

    what: str
    agent: str
    key: str
    pid: int


@dataclass(frozen=True, slots=True)
class Effects:
    """`answered` calls stand in the store, of `keys` in all. `mails` were sent. `taken_over` runs were done once more by another process,
    after theirs was killed between its work and the note of it. `wrong` says what was done twice, or not done."""

    keys: int
    answered: int
    runs: int
    taken_over: int
    mails: int
    wrong: tuple[str, ...]


def read_mails(outbox: Path) -> dict[str, Counter[str]]:
    """Mails by recipient: how many there are of each subject."""
    found: dict[str, Counter[str]] = {}
    for file in (outbox / "new").glob("*.eml"):
        mail = message_from_bytes(file.read_bytes())
        found.setdefault(parseaddr(str(mail["To"]))[1], Counter())[str(mail["Subject"])] += 1
    return found


def read_runs(home: Path) -> list[Run]:
    """The witness's notes. A line that a kill cut short is left out."""
    runs = []
    for line in (home / RUNS).read_bytes().splitlines():
        try:
            runs.append(Run(**orjson.loads(line)))
        except (orjson.JSONDecodeError, TypeError):
            continue
    return runs


def read_store(home: Path) -> tuple[int, int]:
    """Calls in the Idempotency-Key store, and how many of them have an answer."""
    store = SqliteStore(home / "run" / "agents" / FILE, now_ms)
    try:
        with store.transaction() as db:
            keys, answered = db.execute("SELECT COUNT(*), COUNT(status) FROM calls").fetchall()[0]
    finally:
        store.close()
    return int(keys), int(answered)


def witnessed(home: Path, team: Team, tally: Tally) -> Effects:
    """What the witnesses in the state folder `home` say. For a team of one's own there are none."""
    if team.own:
        return effects((), {}, {}, (), (0, 0))
    return effects(tally.sent.values(), tally.ends, read_mails(home / "outbox"), read_runs(home), read_store(home))


def effects(leads: Iterable[Lead], ends: Mapping[str, End], mails: Mails, runs: Iterable[Run], store: tuple[int, int]) -> Effects:
    """What was done, and what of it should not have been."""
    done: dict[tuple[str, str], Counter[int]] = {}
    for run in runs:
        if run.what == DONE:
            done.setdefault((run.agent, run.key), Counter())[run.pid] += 1
    twice = [
        f"{agent} did {key} {max(pids.values())} times in one process" for (agent, key), pids in done.items() if max(pids.values()) > 1
    ]
    wrong = [said for lead in leads if (said := _wrong_mails(lead, ends.get(lead.workflow), mails.get(address(lead.number), Counter())))]
    taken_over = sum(len(pids) - 1 for pids in done.values())
    sent = sum(sum(subjects.values()) for subjects in mails.values())
    return Effects(store[0], store[1], sum(sum(pids.values()) for pids in done.values()), taken_over, sent, (*twice, *wrong))


def _wrong_mails(lead: Lead, end: End | None, got: Counter[str]) -> str:
    """What is wrong with the mails of a lead: one that was sent twice, or another number than its path accounts for."""
    twice = [subject for subject, count in got.items() if count > 1]
    if twice:
        return f"{lead.workflow}: {twice[0]!r} was sent {got[twice[0]]} times"
    wanted = sum(MAILS_OF.get(agent, 0) for agent in end.path) if end is not None and "send-email" in end.path else 0
    if sum(got.values()) != wanted and end is not None:
        return f"{lead.workflow}: {sum(got.values())} mails were sent, its path {'-'.join(end.path)} gives {wanted}"
    return ""
