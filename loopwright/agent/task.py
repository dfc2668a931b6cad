"""What a handler is given: the input, whose call it is, and ways to report progress, to end the workflow and to say what it cost."""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from loopwright.errors import NotAllowed

Report = Callable[["Task", int, int, str], None]


class _Done(Awaitable[None]):
    """Awaiting it takes no time: what was asked for has been done."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


def _nowhere(_task: "Task", _step: int, _of: int, _text: str) -> None:
    """Progress that nobody listens to."""


@dataclass(slots=True)
class Task:
    """One call of an agent.

    `input` keeps the agent's input contract. `idempotency_key` is the same for every repeat of this call: derive the names of effects from
    it. `actions` are those of the definition. `timeout_ms` is how long the caller waits for the answer, in ms, where it says so.
    """

    input: dict[str, Any]
    workflow: str = ""
    hop: int = 0
    branch: str = ""
    idempotency_key: str = ""
    traceparent: str = ""
    timeout_ms: int | None = None
    agent: str = ""
    completes: bool = False
    used: dict[str, float] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    acted: list[str] = field(default_factory=list)
    report: Report = _nowhere

    def progress(self, step: int, of: int, text: str = "") -> Awaitable[None]:
        """Say that step `step` of `of` is reached. Best effort and at once; it never fails the work. Awaiting the result is optional."""
        self.report(self, step, of, text)
        return _Done()

    def complete(self) -> None:
        """Ask for the workflow to end with this reply."""
        self.completes = True

    def action(self, name: str) -> None:
        """Say that an effect on the world follows, such as `email.send`, before it is made; it is in the reply's record.

        Raises NotAllowed where the agent's definition does not list it. The work ends with that unless the handler catches it.
        """
        if name not in self.actions:
            why = f"the definition of {self.agent} lists {', '.join(self.actions) or 'no action'}"
            raise NotAllowed(f"the action {name} is not allowed", why, "add it under `actions:` and publish a new version")
        if name not in self.acted:
            self.acted.append(name)

    def usage(self, prompt_tokens: int = 0, completion_tokens: int = 0, cost: float = 0.0) -> None:
        """Add to what this call used up; the sums travel in the header `loopwright-usage`."""
        for name, amount in (("prompt_tokens", prompt_tokens), ("completion_tokens", completion_tokens), ("cost", cost)):
            self.used[name] = self.used.get(name, 0) + amount
