"""The logs as the commands read them: every topic that tells of workflows, from Kafka into a timeline."""

from collections.abc import Callable, Iterator

from loopwright.edges import kafka
from loopwright.history.timeline import Timeline
from loopwright.settings import Settings
from loopwright.step import Record


def topics_of(settings: Settings) -> list[str]:
    """The topics that tell of workflows. One that is not there yet is left out, except that without agent-messages nothing can be read."""
    names = settings.topics
    wanted = [names.messages, names.decisions, names.callbacks, names.results, names.dead_letters, names.progress]
    there = kafka.present(settings, wanted)
    return [name for name in wanted if name in there or name == names.messages]


def empty(settings: Settings) -> Timeline:
    """A timeline with nothing in it, for the topics of `settings`."""
    return Timeline(settings.topics, settings.limits, settings.team)


def load(settings: Settings) -> Timeline:
    """Everything the logs hold at this moment. Raises Unreachable, NotFound."""
    timeline = empty(settings)
    timeline.extend(kafka.read_all(settings, topics_of(settings)))
    return timeline


def follow(settings: Settings, stop: Callable[[], bool], from_beginning: bool = True) -> Iterator[Record | None]:
    """The records as they come, None where nothing came for a moment. Raises as `load`."""
    return kafka.tail(settings, topics_of(settings), from_beginning, stop)
