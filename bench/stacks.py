"""A local platform that is about to be measured."""

from loopwright.edges.platform.services import Endpoints
from loopwright.edges.platform.stack import ARCHIVES, Stack
from loopwright.edges.platform.waiting import wait_for

ARCHIVES_S = 120.0


def up(stack: Stack) -> Endpoints:
    """Start it, and wait until the class archives of a first start are made, which takes processor time. Raises LoopwrightError."""
    endpoints = stack.up()
    wait_for(lambda: stack.processes.running(ARCHIVES) is None, ARCHIVES_S)
    return endpoints
