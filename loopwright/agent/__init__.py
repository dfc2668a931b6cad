"""The agent SDK: a function and its definition become an HTTP endpoint that keeps its contracts.

from loopwright.agent import Agent, Task, serve

score = Agent("agents/sdr/lead-scoring.yaml")

@score.handler
async def handle(task: Task) -> dict[str, object]:
    return {"score": 40, ...}

serve([score], port=8801)
"""

from loopwright.agent.agent import Agent
from loopwright.agent.door import Tls
from loopwright.agent.serving import create_app, serve
from loopwright.agent.task import Task

__all__ = ["Agent", "Task", "Tls", "create_app", "serve"]
