"""Whether a measured figure stays flat: its trend after a warm-up, against a bound. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

Point = tuple[float, float]
MOST_POINTS = 240


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure, its unit, and by how much it may grow in a minute after the warm-up."""

    figure: str
    unit: str
    per_minute: float


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure went: at the end of the warm-up, at the end, at most, and its growth per minute in between."""

    bound: Bound
    points: int
    first: float
    last: float
    most: float
    per_minute: float

    @property
    def flat(self) -> bool:
        """Whether it grew no faster than it may. With too few points to say, it did not."""
        return self.points >= 3 and self.per_minute <= self.bound.per_minute


def slope(points: Sequence[Point]) -> float:
    """The middle one of the slopes between any two points (Theil and Sen): some wild points do not change it. 0 for fewer than two."""
    thinned = points[:: max(1, -(-len(points) // MOST_POINTS))]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(thinned, 2) if x2 != x1]
    return median(slopes) if slopes else 0.0


def trend(bound: Bound, points: Sequence[Point], warm_up_s: float) -> Trend:
    """The trend of `points` (seconds, value; ascending) from `warm_up_s` on."""
    warm = [(at_s, value) for at_s, value in points if at_s >= warm_up_s]
    if not warm:
        return Trend(bound, 0, 0.0, 0.0, 0.0, 0.0)
    values = [value for _, value in warm]
    return Trend(bound, len(warm), values[0], values[-1], max(values), slope(warm) * 60)
