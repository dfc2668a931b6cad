"""When a cron expression is due, in a time zone.

The expression has the five fields of cron, and means what it means to Debian's cron (cronsim follows it), also where clocks are set:

- a time of day that is skipped comes at once after the gap (02:30 at 03:00); one that comes twice is taken once, the first time
- an expression whose minute or hour begins with `*` goes by the time that passes: nothing is made up for, and both hours count

Instants are whole milliseconds since the epoch.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

LONGEST = 200
_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_FORM = "write minute, hour, day of the month, month and day of the week, as in 0 8 * * MON-FRI"


def check_cron(cron: str) -> str:
    """The expression with single spaces. Raises ValueError, saying what is wrong, for one that is none or whose time never comes."""
    if len(cron) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} letters")
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(f"has {len(fields)} fields, not five; {_FORM}")
    try:
        never = next(CronSim(cron, _ANY_DAY), None) is None
    except (CronSimError, ValueError, AssertionError, OverflowError) as error:
        raise ValueError(f"is not a cron expression ({str(error) or 'it cannot be read'}); {_FORM}") from error
    if never:
        raise ValueError("never comes; correct the day, the month or the day of the week")
    return " ".join(fields)


def check_zone(zone: str) -> str:
    """The zone as it is. Raises ValueError for a name that the time zone database does not have."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is not a time zone; write its name, as in Europe/Berlin, or UTC") from error
    return zone


def instants(cron: str, zone: str, since_ms: int) -> Iterator[int]:
    """The times of `cron` in `zone` after `since_ms`, ascending, without end (or until none comes in fifty years)."""
    there = ZoneInfo(zone)
    last_ms = since_ms
    for found in CronSim(cron, datetime.fromtimestamp(since_ms // 1000, UTC).astimezone(there)):
        moment = found.astimezone(UTC)
        at_ms = int(moment.timestamp()) * 1000
        real = moment.astimezone(there).replace(tzinfo=None) == found.replace(tzinfo=None)
        if real and at_ms > last_ms:  # begun in the second of two hours that are called the same, it counts from the first
            last_ms = at_ms
            yield at_ms


def local_time(at_ms: int, zone: str) -> datetime:
    """The instant as the clocks of `zone` show it."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))


def in_words(cron: str) -> str:
    """What the expression says, in English."""
    return str(CronSim(cron, _ANY_DAY).explain())
