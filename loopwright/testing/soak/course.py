"""How a soak went: what was done to the TaskManager, and what was seen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One look, `at_s` seconds after the begin: figures by name, memory in MiB."""

    at_s: float
    figures: Mapping[str, float]


@dataclass
class Course:
    """What was done and seen; `died`: the TaskManager did not live to the end."""

    samples: list[Sample] = field(default_factory=list)
    collections: int = 0
    dumps: int = 0
    restarts: int = 0
    restarted_s: list[float] = field(default_factory=list)
    died: bool = False

    def add(self, seen: Sample | None) -> None:
        """Keep a sample, if there is one."""
        if seen is not None:
            self.samples.append(seen)

    def newest(self) -> dict[str, float]:
        """The last value of each figure."""
        return {name: value for one in self.samples for name, value in one.figures.items()}
