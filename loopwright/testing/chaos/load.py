"""Workflows in flight: as many as are wanted, all the time. A new one is started whenever one has come to its end.

Nine in ten are written to Kafka, the tenth is POSTed to the gateway. Whatever fails is tried again under the same id until it is taken, as
a careful caller does: so a start may be written twice, and must still be worked once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import requests

from loopwright import schemas
from loopwright.cli.send import SendOptions, start_emit, start_message
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.errors import LoopwrightError
from loopwright.message import read
from loopwright.settings import Settings
from loopwright.step import Emit, Record
from loopwright.testing.chaos.recovery import Told
from loopwright.testing.chaos.team import SDR, Team, address
from loopwright.web.records import workflow_id

TICK_S, AGAIN_S, POST_S = 0.05, 0.3, 15.0
BY_GATEWAY = 10
SETTLED_AS_PARKED = ("park", "unroutable")


@dataclass(frozen=True, slots=True)
class Lead:
    """A workflow that was asked for: its id, and the number of its document."""

    workflow: str
    number: int


@dataclass(frozen=True, slots=True)
class End:
    """The first result of a workflow: its type, its path, and when it came."""

    type: str
    path: tuple[str, ...]
    told: Told


@dataclass
class Tally:
    """What was sent and what came of it, by workflow. `parked` are those that wait for a person and have no end yet."""

    sent: dict[str, Lead] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)
    parked: set[str] = field(default_factory=set)

    def open(self) -> int:
        """How many are in flight."""
        return len(self.sent) - len(self.ends) - len(self.parked - self.ends.keys())

    def told(self) -> list[Told]:
        """When the results came, one for each workflow."""
        return [end.told for end in list(self.ends.values())]

    def left(self) -> list[str]:
        """Which are in flight."""
        return [name for name in self.sent if name not in self.ends and name not in self.parked]


def note(tally: Tally, record: Record, settings: Settings, now_ms: int) -> None:
    """Take in a record of the results or the messages that was read at `now_ms`."""
    kind, workflow = record.headers.get("ce_type", b"").decode(), (record.key or b"").decode()
    if workflow not in tally.sent or record.value is None:
        return
    if record.topic == settings.topics.results:
        data = read(record).data
        tally.ends.setdefault(workflow, End(kind, tuple(data.get("path", ())), Told(record.timestamp_ms, now_ms)))
    elif kind == schemas.SETTLED and read(record).data["outcome"] in SETTLED_AS_PARKED:
        tally.parked.add(workflow)
    elif kind == schemas.RESUMED:
        tally.parked.discard(workflow)


class Load:
    """Keeps `in_flight` workflows going from `start` until `stop_sending`. `settings` name broker and gateway as they really are."""

    def __init__(self, settings: Settings, in_flight: int, team: Team = SDR) -> None:
        self.tally = Tally()
        self._settings, self._in_flight, self._team = settings, in_flight, team
        self._sending, self._following = threading.Event(), threading.Event()
        self._to_post: deque[Lead] = deque()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._post, self._follow)]

    def start(self) -> None:
        """Begin."""
        self._sending.set()
        self._following.set()
        for thread in self._threads:
            thread.start()

    def stop_sending(self) -> None:
        """Start nothing new. What was begun is brought to its end: a start that nobody has taken yet is tried until somebody does."""
        self._sending.clear()

    def close(self) -> None:
        """Stop everything."""
        self._sending.clear()
        self._following.clear()
        for thread in self._threads:
            thread.join(POST_S * 3)

    @property
    def in_flight(self) -> int:
        """Workflows in flight now."""
        return self.tally.open()

    def _send(self) -> None:
        with kafka.Producer(self._settings) as producer:
            while self._sending.is_set():
                room = self._in_flight - self.in_flight
                if room <= 0:
                    time.sleep(TICK_S)
                    continue
                leads = [self._lead(len(self.tally.sent) + n) for n in range(room)]
                self.tally.sent.update({lead.workflow: lead for lead in leads})
                self._to_post.extend(lead for lead in leads if _by_gateway(lead))
                emits = [self._start(lead) for lead in leads if not _by_gateway(lead)]
                self._until_taken(lambda emits=emits: producer.send_many(emits))  # type: ignore[misc]

    def _start(self, lead: Lead) -> Emit:
        options = SendOptions(team=self._team.name)
        message = start_message(self._team.document(lead.number), lead.workflow, options, now_ms())
        return start_emit(message, self._settings)

    def _lead(self, number: int) -> Lead:
        return Lead(workflow_id(address(number)), number)

    def _until_taken(self, send: Callable[[], None]) -> None:
        while self._following.is_set():
            try:
                send()
                return
            except LoopwrightError:  # the broker is down: that is what this is about
                time.sleep(AGAIN_S)

    def _post(self) -> None:
        while self._following.is_set():
            lead = self._to_post[0] if self._to_post else None
            if lead is not None and self._posted(lead):
                self._to_post.popleft()
            elif lead is None or self._following.is_set():
                time.sleep(AGAIN_S if lead else TICK_S)

    def _posted(self, lead: Lead) -> bool:
        url, headers = f"{self._settings.gateway_url}/workflows?team={self._team.name}", {"Idempotency-Key": address(lead.number)}
        try:
            return requests.post(url, json=self._team.document(lead.number), headers=headers, timeout=POST_S).status_code == 202
        except requests.RequestException:
            return False

    def _follow(self) -> None:
        topics = [self._settings.topics.results, self._settings.topics.messages]
        while self._following.is_set():
            try:
                for record in kafka.tail(self._settings, topics, from_beginning=True, stop=lambda: not self._following.is_set()):
                    if record is not None:
                        note(self.tally, record, self._settings, now_ms())
            except LoopwrightError:
                time.sleep(AGAIN_S)


def _by_gateway(lead: Lead) -> bool:
    return lead.number % BY_GATEWAY == 0
