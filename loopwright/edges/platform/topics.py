"""The platform's topics: made where they are missing."""

from collections.abc import Sequence

from loopwright.edges.kafka import TopicSpec, ensure_topics
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError, Retryable
from loopwright.settings import read_settings


def make_topics(bootstrap: str, topics: Sequence[TopicSpec], seconds: float) -> list[str]:
    """Make the topics that are missing and return their names. A broker that has just started is asked again for up to `seconds`."""
    found = read_settings()
    settings = found.model_copy(update={"kafka": found.kafka.model_copy(update={"bootstrap_servers": bootstrap})})
    last: LoopwrightError | None = None

    def attempt() -> list[list[str]] | None:
        nonlocal last
        try:
            return [ensure_topics(settings, topics)]
        except Retryable as error:
            last = error
            return None

    made = wait_for(attempt, seconds) if topics else [[]]
    if made is None:
        raise last or LoopwrightError("the topics cannot be made")
    return made[0]
