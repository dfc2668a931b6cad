"""The platform's topics: made where they are missing, and kept to their settings where the broker is the platform's own."""

from collections.abc import Sequence

from loopwright.edges.kafka import TopicSpec
from loopwright.edges.platform.waiting import wait_for
from loopwright.edges.topic_settings import settle_topics
from loopwright.errors import LoopwrightError, Retryable
from loopwright.settings import read_settings


def make_topics(bootstrap: str, topics: Sequence[TopicSpec], seconds: float, own: bool) -> list[str]:
    """Make the topics that are missing and return their names. A broker that has just started is asked again for up to `seconds`.

    On a broker of our `own` those that are there are given their settings too; elsewhere they may be somebody else's affair.
    """
    found = read_settings()
    settings = found.model_copy(update={"kafka": found.kafka.model_copy(update={"bootstrap_servers": bootstrap})})
    last: LoopwrightError | None = None

    def attempt() -> list[list[str]] | None:
        nonlocal last
        try:
            return [settle_topics(settings, topics, alter_present=own)]
        except Retryable as error:
            last = error
            return None

    made = wait_for(attempt, seconds) if topics else [[]]
    if made is None:
        raise last or LoopwrightError("the topics cannot be made")
    return made[0]
