"""All workflows of a set of logs. Records go in one at a time, in whatever order the topics were read; views come out."""

from collections.abc import Iterable, Iterator

from loopwright.history.reading import Entry, Position, in_log_order, is_orphan, read_entry, settles_letter
from loopwright.history.replay import Life, lives_of
from loopwright.history.steps import Step, step_of
from loopwright.history.view import WorkflowView, view_of
from loopwright.settings import Limits, Topics
from loopwright.step import Record


class Timeline:
    """Folds records into one view per workflow. Reads no clock, no network; the same records give the same views."""

    def __init__(self, topics: Topics, limits: Limits, default_team: str) -> None:
        self._topics, self._limits, self._default_team = topics, limits, default_team
        self._entries: dict[str, dict[Position, Entry]] = {}
        self._workflows: set[str] = set()
        self._views: dict[str, WorkflowView] = {}
        self._letters: set[Position] = set()
        self.records = 0

    def add(self, record: Record) -> str | None:
        """Take in a record of any topic. The workflow that it tells of, or None where it tells of none. Never raises."""
        entry = read_entry(record, self._topics, self._limits)
        if entry is None:
            return None
        self.records += 1
        if entry.at.topic == self._topics.dead_letters and not settles_letter(entry):
            self._letters.add(entry.at)
        self._entries.setdefault(entry.workflow, {})[entry.at] = entry
        self._views.pop(entry.workflow, None)
        if not is_orphan(entry):
            self._workflows.add(entry.workflow)
        return entry.workflow if entry.workflow in self._workflows else None

    def extend(self, records: Iterable[Record]) -> None:
        """Take in many."""
        for record in records:
            self.add(record)

    def __contains__(self, workflow: str) -> bool:
        return workflow in self._workflows

    def __iter__(self) -> Iterator[str]:
        return iter(self._workflows)

    def view(self, workflow: str) -> WorkflowView:
        """The view of a workflow. Raises KeyError where no record tells of it."""
        if workflow not in self._workflows:
            raise KeyError(workflow)
        if workflow not in self._views:
            entries = tuple(self._entries[workflow].values())
            self._views[workflow] = view_of(workflow, entries, self._topics, self._limits, self._default_team)
        return self._views[workflow]

    def lives(self, workflow: str) -> list[Life]:
        """The runs of a workflow, oldest first. Raises KeyError where no record tells of it."""
        entries = in_log_order(self._entries[workflow].values())
        topics = self._topics
        said = {
            topic: [entry for entry in entries if entry.at.topic == topic] for topic in (topics.messages, topics.decisions, topics.results)
        }
        decisions, results = ([(e, e.message) for e in said[topic] if e.message] for topic in (topics.decisions, topics.results))
        return lives_of(workflow, said[topics.messages], decisions, results, self._limits, self._default_team)

    def views(self) -> list[WorkflowView]:
        """Every workflow, the one that started last first."""
        return sorted((self.view(workflow) for workflow in self._workflows), key=lambda view: (-view.started_ms, view.workflow))

    @property
    def dead_letters(self) -> int:
        """How many dead letters there are, those of no workflow included."""
        return len(self._letters)

    def refused(self, position: str) -> WorkflowView | None:
        """What is known of a record without a workflow that was refused, by its position (`topic-partition-offset`); None: nothing is."""
        if position in self._workflows:
            return None
        unreadable = (entry for entry in self._entries.get("", {}).values() if entry.at.name == position)
        entries = (*unreadable, *self._entries.get(position, {}).values())
        return view_of(position, entries, self._topics, self._limits, self._default_team) if entries else None

    def orphans(self) -> list[Step]:
        """Unreadable records and dead letters that belong to no workflow, oldest first."""
        lone = [entry for name, entries in self._entries.items() if name not in self._workflows for entry in entries.values()]
        lone.sort(key=lambda entry: (entry.logged_ms, str(entry.at)))
        return [step_of(entry, self._topics.results, self._topics.dead_letters) for entry in lone]
