"""What `loopwright topics` shows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table
from rich.text import Text

from loopwright.cli import show
from loopwright.edges.kafka import TopicSpec, topics
from loopwright.edges.topic_settings import Difference, differences, for_these_brokers
from loopwright.edges.topics import topic_specs
from loopwright.settings import Settings


@dataclass(frozen=True)
class Look:
    """The topics that are wanted, the partitions of those that are there, and how these differ."""

    wanted: tuple[TopicSpec, ...]
    partitions: dict[str, int]
    differences: tuple[Difference, ...]

    @classmethod
    def at(cls, settings: Settings) -> "Look":
        """The topics as they stand now. Raises as `loopwright.edges.kafka.topics`."""
        wanted = tuple(for_these_brokers(settings, topic_specs(settings)))
        return cls(wanted, topics(settings), tuple(differences(settings, wanted)))

    @property
    def missing(self) -> list[str]:
        """Names of topics that are not there."""
        return sorted(spec.name for spec in self.wanted if spec.name not in self.partitions)

    @property
    def alterable(self) -> list[Difference]:
        """What `apply` alters."""
        return [one for one in self.differences if one.alterable]


def show_look(look: Look, as_json: bool) -> None:
    """Print every topic and its differences."""
    if as_json:
        there = {spec.name: look.partitions[spec.name] for spec in look.wanted if spec.name in look.partitions}
        show.print_json({"topics": there, "missing": look.missing, "differences": [asdict(one) for one in look.differences]})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("topic", "partitions", "kept for", "differs"):
        table.add_column(name, overflow="fold")
    for spec in look.wanted:
        table.add_row(spec.name, str(look.partitions.get(spec.name, "missing")), kept(spec), _said(spec, look))
    show.console().print(table)


def kept(spec: TopicSpec) -> str:
    """How long the records of a topic are to be kept, for a person."""
    ms, local = int(spec.config.get("retention.ms", "-1")), spec.config.get("local.retention.ms")
    total = "ever" if ms < 0 else show.duration(ms)
    return total if local is None else f"{total}, {show.duration(int(local))} of it on disk"


def _said(spec: TopicSpec, look: Look) -> Text:
    said = [f"{one.setting} is {one.found or 'not set'}, {one.wanted} is wanted" for one in look.differences if one.topic == spec.name]
    return Text("\n".join(map(show.clean, said)), style="yellow")


def show_changes(made: Sequence[str], altered: Sequence[Difference], dry_run: bool, as_json: bool) -> None:
    """Print what was made and altered, or would be."""
    if as_json:
        show.print_json({"dry_run": dry_run, "made": list(made), "altered": [asdict(one) for one in altered]})
        return
    screen = show.console()
    for name in made:
        screen.print(Text.assemble(("made     ", "green"), show.clean(name)))
    for one in altered:
        screen.print(Text.assemble(("altered  ", "yellow"), show.clean(f"{one.topic}  {one.setting}: {one.found} → {one.wanted}")))
    if dry_run:
        screen.print(Text(f"{len(made) + len(altered)} changes would be made; none was (--dry-run)", style="dim"))
    elif not made and not altered:
        screen.print(Text("all topics are as the settings say", style="dim"))
