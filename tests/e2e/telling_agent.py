"""An agent that tells everything it is given, in every way there is: for the test that its log holds no secret of it."""

import argparse
import logging
import threading
from pathlib import Path
from typing import Any

from loopwright.agent import Agent, Task, serve
from loopwright.errors import InvalidDocument, Retryable
from loopwright.registry.definition import AgentDefinition

DEFINITION = {
    "name": "telling",
    "version": 1,
    "description": "Tells what it is given.",
    "input": {"type": "object", "properties": {"how": {"type": "string"}, "text": {"type": "string"}}, "required": ["how", "text"]},
    "output": {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]},
    "endpoint": "http://127.0.0.1:8801/agents/telling",
}
WAYS = ("raise", "chain", "retry", "refuse", "break", "no-json", "log", "print-stack", "thread", "argument")
log = logging.getLogger("telling")


def tell(task: Task) -> dict[str, Any]:
    """Tell `text` in the way that `how` names."""
    text, how = task.input["text"], task.input["how"]
    if how == "raise":
        raise RuntimeError(text)
    if how == "chain":
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError("another") from error
    if how == "retry":
        raise Retryable("not now", text, text)
    if how == "refuse":
        raise InvalidDocument(text, text, text)
    if how in ("break", "no-json"):
        return {"said": [text]} if how == "break" else {"said": {text}}
    if how == "log":
        log.warning("was given %s", text)
        log.error(f"was given {text}")
    if how == "print-stack":
        log.warning("here", stack_info=True, extra={"given": text})
    if how == "argument":
        log.warning("%d letters", text)
    if how == "thread":
        thread = threading.Thread(target=lambda: {}[text])
        thread.start()
        thread.join()
    return {"said": "done"}


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    agent = Agent(AgentDefinition.model_validate(DEFINITION))
    agent.handler(tell)
    serve([agent], given.port, state=given.state)


if __name__ == "__main__":
    main()
