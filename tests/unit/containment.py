"""The world round the two deciders as a hypothesis state machine: what can go wrong is a rule, and after each rule the logs must verify.

Time, crashes, what a producer lost, who answers what and in which order: hypothesis chooses all of it.
"""

import random
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from loopwright import schemas
from loopwright.deadletter import original_bytes
from loopwright.dispatch.decider import DispatchDecider
from loopwright.history.invariants import Clock, Evidence, Report
from loopwright.message import Message, encode, read
from loopwright.registry.definition import AgentDefinition
from loopwright.settings import Limits, Settings
from loopwright.step import Record
from loopwright.testing.simulation import Loop, Simulation

SETTINGS = Settings(llm_base_url="http://model/v1", team="three", limits=Limits(hops=6, deadline_ms=7_200_000, deduplication_ms=3_600_000))
TOPICS = SETTINGS.topics
NAMES = ("ann", "bob", "cat")
NEVER = 10**9
PICK = st.integers(0, 2**16)
WHICH = st.sampled_from([(0,), (1,), (0, 1)])
ANSWERS = frozenset({schemas.REPLIED, schemas.FAILED, schemas.SETTLED})


def agent(name: str, **more: Any) -> AgentDefinition:
    """An agent that may run whenever there is a name, so that the model has the choice at every hop."""
    retry = {"attempts": 3, "initial": "1s", "max": "10s"}
    accepts = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    gives = {"type": "object", "required": [f"by_{name}"], "properties": {f"by_{name}": {"type": "string"}}}
    return AgentDefinition(
        name=name, team="three", version=1, description=name, input=accepts, output=gives, endpoint=f"http://{name}/", retry=retry, **more
    )


TEAM = (agent("ann"), agent("bob"), agent("cat", reply="callback", callback_timeout="1m"))


class World(RuleBasedStateMachine):
    """Any number of crashes at any points, round a model and agents that answer differently each time."""

    simulation: type[Simulation] = Simulation
    dispatcher: type[DispatchDecider] = DispatchDecider

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(0)
        self.sim = self.simulation(SETTINGS, TEAM, self.agent, self.model, partitions=3, buffered=True)
        self.sim.dispatch.make = lambda: self.dispatcher(SETTINGS)
        self.sim.dispatch.restart()
        self.evidence = Evidence(TOPICS, SETTINGS.limits, SETTINGS.team)
        self.seen = dict.fromkeys(TOPICS.model_dump().values(), 0)
        self.latest_ms = 0
        self.first: dict[tuple[str, int], Message] = {}
        self.effects: dict[str, tuple[str, str, dict[str, str]]] = {}
        self.late: list[tuple[Message, bytes]] = []
        self.started: list[tuple[bytes, bytes | None, int | None]] = []

    # what the deciders meet

    def model(self, _payload: dict[str, Any]) -> dict[str, Any]:
        """Never the same answer twice; sometimes none."""
        said = self.rng.choice([*NAMES, *NAMES, "none", "admin", ""])
        if not said:
            return {"ok": False, "error": {"class": "Timeout", "message": "slow", "retryable": True, "retry_after_ms": None}, "tokens": {}}
        content = orjson.dumps({"agent": said, "confidence": self.rng.random(), "reason": str(self.rng.random())}).decode()
        return {"ok": True, "content": content, "model": "m", "tokens": {"prompt": self.rng.randrange(99), "completion": 1}}

    def agent(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Honours its key: one effect, and the same answer ever after; each effect is another one. Fails before it, or after it."""
        headers, key = payload["headers"], payload["headers"]["idempotency-key"]
        workflow, hop, name = headers["ce-workflowid"], int(headers["ce-hop"]), payload["url"][len("http://") : -1]
        self.take_note()
        decided = self.first.get((workflow, hop))
        assert decided is not None, f"{name} is called for {workflow}, hop {hop}, of which no decision stands in the log"
        assert [target["agent"] for target in decided.data["targets"]] == [name], f"the first decision for hop {hop} does not name {name}"
        whim = self.rng.randrange(10)
        if whim == 0:
            return {"status": self.rng.choice([429, 503, 409]), "headers": {}, "body": ""}
        if whim == 1:
            return {"status": self.rng.choice([400, 422]), "headers": {}, "body": ""}
        effect = self.effects.setdefault(key, (payload["url"], payload["body"], {f"by_{name}": str(self.rng.random())}))
        assert effect[:2] == (payload["url"], payload["body"]), "one key, two calls"
        if whim == 2:
            return {"error": {"class": "ConnectionReset", "message": "cut after the work was done"}}
        if name == "cat":
            data = {"branch": headers["ce-branch"], "output": effect[2]}
            self.late.append((Message(f"late-{key}", schemas.CALLED_BACK, "/gateway", workflow, data, hop), workflow.encode()))
            return {"status": 202, "headers": {}, "body": ""}
        return {"status": 200, "headers": {}, "body": orjson.dumps(effect[2]).decode()}

    # what may happen

    def loops(self, which: tuple[int, ...]) -> list[Loop]:
        return [self.sim.loops[number] for number in which]

    def choose(self, pick: int, options: list[Any]) -> Any:
        self.rng = random.Random(pick)
        return options[pick % len(options)]

    def some(self, what: Callable[[Loop], Any]) -> list[tuple[Loop, Any]]:
        return [(loop, one) for loop in self.sim.loops for one in what(loop)]

    @initialize(count=st.integers(1, 2), pick=PICK)
    def begin(self, count: int, pick: int) -> None:
        for number in range(count):
            self.start(number % 2 == 0, pick + number)

    @precondition(lambda self: len(self.started) < 4)
    @rule(keyed=st.booleans(), pick=PICK)
    def start(self, keyed: bool, pick: int) -> None:
        """A start in an envelope under its key, or a bare document in any partition."""
        document, workflow = {"name": f"n{len(self.started)}"}, f"w{len(self.started)}"
        if keyed:
            said = encode(Message(workflow, schemas.STARTED, "/test", workflow, {"document": document}))
            self.started.append((said, workflow.encode(), None))
        else:
            self.started.append((orjson.dumps(document), None, pick % self.sim.partitions))
        self.sim.write(TOPICS.messages, *self.started[-1])

    @precondition(lambda self: any(key for _, key, _ in self.started))
    @rule(pick=PICK)
    def start_again(self, pick: int) -> None:
        """The same start is sent once more, or another one under its id."""
        said, key, _ = self.choose(pick, [one for one in self.started if one[1]])
        self.sim.write(TOPICS.messages, said.replace(b'"n', b'"m') if pick % 3 == 0 else said, key)

    @precondition(lambda self: self.some(self.sim.unread))
    @rule(pick=PICK)
    def deliver(self, pick: int) -> None:
        self.sim.deliver(*self.choose(pick, self.some(self.sim.unread)))

    @precondition(lambda self: self.some(self.sim.unsent))
    @rule(pick=PICK, times=st.sampled_from([1, 1, 1, 2]))
    def send(self, pick: int, times: int) -> None:
        """A record leaves the producer's buffer, at times twice."""
        self.sim.send(*self.choose(pick, self.some(self.sim.unsent)), times)

    @precondition(lambda self: self.some(lambda loop: loop.in_flight))
    @rule(pick=PICK)
    def come_back(self, pick: int) -> None:
        loop, (key, call) = self.choose(pick, self.some(lambda loop: list(loop.in_flight)))
        self.sim.come_back(loop, key, call)

    @precondition(lambda self: self.some(lambda loop: loop.states))
    @rule(pick=PICK)
    def wake(self, pick: int) -> None:
        """A timer fires, due or not: definitions and polls wake keys too."""
        self.sim.wake(*self.choose(pick, self.some(lambda loop: list(loop.states))))

    @rule(pick=PICK, steps=st.integers(1, 40))
    def go_on(self, pick: int, steps: int) -> None:
        """A while in which nothing goes wrong."""
        self.rng = random.Random(pick)
        for _ in range(steps):
            possible = self.sim.actions()
            if not possible:
                return
            self.rng.choice(possible)()

    @rule(which=WHICH)
    def checkpoint(self, which: tuple[int, ...]) -> None:
        for loop in self.loops(which):
            self.sim.checkpoint(loop)

    @rule(which=WHICH)
    def crash(self, which: tuple[int, ...]) -> None:
        """Back to the last checkpoint; what was not sent is lost, what was sent stays in the log."""
        for loop in self.loops(which):
            loop.crash(self.sim.now_ms)

    @rule(pick=PICK, steps=st.integers(1, 60))
    def the_machine_goes_down(self, pick: int, steps: int) -> None:
        """In the midst of the work, both operators."""
        self.go_on(pick, steps)
        self.crash((0, 1))

    @precondition(lambda self: self.late)
    @rule(pick=PICK)
    def call_back(self, pick: int) -> None:
        """A late reply comes, in time or not, and more than once."""
        message, key = self.choose(pick, self.late)
        self.sim.write(TOPICS.callbacks, encode(message), key)

    @precondition(lambda self: self.known())
    @rule(pick=PICK, kind=st.sampled_from([schemas.CANCELLED, schemas.RESUMED, schemas.RESUMED, schemas.HUMAN_DECIDED]))
    def step_in(self, pick: int, kind: str) -> None:
        """A person cancels, resumes or decides, whether it makes sense or not."""
        workflow = self.choose(pick, self.known())
        data = {"verdict": self.rng.choice(["approve", "reject", "edit"]), "edit": {"note": pick}} if kind == schemas.HUMAN_DECIDED else {}
        self.sim.write(TOPICS.messages, encode(Message(f"said-{pick}", kind, "/test", workflow, data)), workflow.encode())

    @precondition(lambda self: self.sim.logs.get(TOPICS.dead_letters))
    @rule(pick=PICK)
    def retry_letter(self, pick: int) -> None:
        """A person writes the record of a dead letter again, as `dlq retry` does, or resumes the workflow of a call that was given up."""
        letter = self.choose(pick, self.sim.read(TOPICS.dead_letters))
        if letter.type == schemas.REJECTED:
            self.sim.write(letter.data["topic"], original_bytes(letter.data), letter.workflow.encode())
        else:
            resumed = Message(f"retry-{pick}", schemas.RESUMED, "/cli", letter.workflow, {})
            self.sim.write(TOPICS.messages, encode(resumed), letter.workflow.encode())

    @rule(by_ms=st.sampled_from([-90_000, -1000, 1000, 60_000, 300_000]))
    def clock(self, by_ms: int) -> None:
        """Time passes, or somebody sets the clock, back as well."""
        self.sim.now_ms += by_ms

    # what must hold

    def known(self) -> list[str]:
        """The workflows of which the log has a start."""
        return sorted({m.workflow for m in self.messages() if m.type == schemas.STARTED})

    def messages(self) -> list[Message]:
        return self.sim.read(TOPICS.messages)

    def take_note(self) -> None:
        """Take in what was logged since the last time."""
        for topic in self.seen:
            fresh: list[Record] = self.sim.logs.get(topic, [])[self.seen[topic] :]
            self.seen[topic] += len(fresh)
            self.evidence.extend(fresh)
            if topic == TOPICS.decisions:
                for decided in map(read, fresh):
                    self.first.setdefault((decided.workflow, decided.hop), decided)
        self.latest_ms = max(self.latest_ms, self.sim.now_ms)

    def verify(self, patience_ms: int = 0) -> None:
        """What `loopwright verify` checks. `patience_ms`: how long a result may take that is due."""
        self.take_note()
        report: Report = self.evidence.report(Clock(self.latest_ms, patience_ms=patience_ms))
        assert report.holds, "; ".join(str(finding.as_dict()) for finding in report.findings)

    @invariant()
    def the_log_verifies(self) -> None:
        self.verify(NEVER)

    def teardown(self) -> None:
        """Everything is well from here on: each workflow ends or is parked with a reason; in the end nothing is kept."""
        if not self.started:
            return
        self.sim.run(self.rng, within_ms=1_800_000)
        self.verify()
        self.everybody_is_accounted_for()
        self.sim.run(self.rng, within_ms=SETTINGS.limits.deadline_ms + 2 * SETTINGS.limits.deduplication_ms)
        self.verify()
        assert (self.sim.route.states, self.sim.dispatch.states) == ({}, {}), "an ended workflow still costs something"

    def everybody_is_accounted_for(self) -> None:
        for workflow in self.known():
            state = orjson.loads(self.sim.route.states[workflow])
            ended = state["phase"] in ("completed", "failed", "cancelled")
            assert ended or (state["phase"] == "parked" and state["reason"]), f"{workflow} is {state['phase']} at hop {state['hop']}"
