"""An agent in a process of its own that can be killed in the middle of its work: with --first it never finishes."""

import argparse
import time
from pathlib import Path

from loopwright.agent import Agent, Task, create_app
from loopwright.agent.serving import run_app
from loopwright.registry.definition import AgentDefinition

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--state", type=Path)
parser.add_argument("--reply", default="callback")
parser.add_argument("--first", action="store_true")
options = parser.parse_args()

agent = Agent(
    AgentDefinition.model_validate(
        {
            "name": "echo",
            "version": 1,
            "description": "Says it again.",
            "input": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "output": {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]},
            "endpoint": "http://127.0.0.1:8801/agents/echo",
            "reply": options.reply,
        }
    )
)


@agent.handler
def handle(task: Task) -> dict[str, object]:
    (options.state / "began").touch()
    if options.first:
        time.sleep(600)
    return {"said": task.input["text"]}


if __name__ == "__main__":
    run_app(create_app([agent], options.state, lease_ms=1000), options.port)
