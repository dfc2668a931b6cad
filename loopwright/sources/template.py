"""The document of a schedule: a template, filled with what belongs to the time that it is started for, and with nothing else.

`${NAME}` in any text of it is replaced; `$${NAME}` stands for `${NAME}` itself. The same time gives the same document, so that a start that
is made twice is the same start.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

NAMES = {
    "at": "the time, as in 2026-03-29T08:00:00+02:00, in the schedule's zone",
    "date": "its date there, as in 2026-03-29",
    "schedule": "the schedule's name",
}
_PLACE = re.compile(r"\$(\$?)\{([^{}]*)\}")


def values_at(schedule: str, at: datetime) -> dict[str, str]:
    """What the names stand for at a time in the schedule's zone."""
    return {"at": at.isoformat(), "date": at.date().isoformat(), "schedule": schedule}


def filled(template: Any, values: Mapping[str, str]) -> Any:
    """`template` with its places filled. Keys stay as they are."""
    if isinstance(template, str):
        return _PLACE.sub(lambda found: f"${{{found[2]}}}" if found[1] else values[found[2]], template)
    if isinstance(template, Mapping):
        return {name: filled(value, values) for name, value in template.items()}
    return [filled(value, values) for value in template] if isinstance(template, list) else template


def unknown(template: Any) -> Iterator[str]:
    """The names in `template` that stand for nothing."""
    if isinstance(template, str):
        yield from (found[2] for found in _PLACE.finditer(template) if not found[1] and found[2] not in NAMES)
    elif isinstance(template, Mapping | list):
        for value in template.values() if isinstance(template, Mapping) else template:
            yield from unknown(value)
