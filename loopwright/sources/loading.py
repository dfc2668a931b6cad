"""Reading the sources file. Everything that is wrong is said at once, each with file, line, field, value and remedy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from loopwright.errors import InvalidDefinition
from loopwright.registry.definition import Part, problem
from loopwright.registry.reading import Source as File
from loopwright.registry.reading import read_yaml
from loopwright.sources.definition import Schedule, Sources, Webhook

KINDS: Mapping[str, type[Webhook] | type[Schedule]] = {"webhooks": Webhook, "schedules": Schedule}
REMEDY = "correct the lines above, then run `loopwright sources check`"
HINTS = {
    "name": "use small letters, digits and hyphens",
    "team": "use small letters, digits and hyphens",
    "webhooks.document": "write a JSON pointer, as in /data, or the fields under `fields`",
    "webhooks.fields": "write NAME: POINTER, as in email: /data/customer/email",
    "webhooks.rate": "write {per_second: 10, burst: 20}",
    "schedules.cron": "write minute, hour, day of the month, month and day of the week, as in 0 8 * * MON-FRI",
    "schedules.document": "write the fields of the workflow's document",
    "schedules.missed": "write run-once, run-all or skip",
    "schedules.missed_within": "write a duration from 1m to 744h",
}


def load_sources(path: Path) -> Sources:
    """The sources in the file `path`. Raises InvalidDefinition with every problem of it."""
    file = path.expanduser()
    if not file.is_file():
        remedy = "correct LOOPWRIGHT_SOURCES_FILE, or write the file (docs/sources.md)"
        raise InvalidDefinition("there are no sources", f"{file} is no file", remedy)
    problems: list[str] = []
    read = read_yaml(file, problems, "webhooks: and schedules:, each with sources by name")
    found: dict[str, dict[str, Any]] = {}
    if read is not None:
        _check_kinds(read, problems)
        found = {kind: _sources(read, kind, problems) for kind in KINDS}
        _check_names(read, problems)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise InvalidDefinition(f"the sources in {file} cannot be used", f"{count}\n    " + "\n    ".join(problems), REMEDY)
    return Sources(**found)


def known_fields(model: type[Part]) -> list[str]:
    """The keys that a source of this kind may have, as they are written in YAML."""
    return sorted(name.removesuffix("_ms") for name in model.model_fields if name != "name")


def _check_kinds(file: File, problems: list[str]) -> None:
    for kind in sorted(file.content.keys() - KINDS.keys()):
        problems.append(f"{file.at(kind)}: {kind}: is not known here; write {' or '.join(KINDS)}")


def _sources(file: File, kind: str, problems: list[str]) -> dict[str, Webhook | Schedule]:
    content = file.content.get(kind)
    if content is None:
        return {}
    if not isinstance(content, dict):
        problems.append(f"{file.at(kind)}: {kind}: is not a mapping; write NAME: and below it the fields of that source")
        return {}
    made = {name: _source(file, kind, name, body, problems) for name, body in content.items()}
    return {name: source for name, source in made.items() if source is not None}


def _source(file: File, kind: str, name: str, body: Any, problems: list[str]) -> Webhook | Schedule | None:
    where, model = (kind, name), KINDS[kind]
    body = {} if body is None else body
    if not isinstance(body, dict):
        problems.append(f"{file.at(*where)}: {name}: is not a mapping; known fields: {', '.join(known_fields(model))}")
        return None
    if "name" in body:
        problems.append(f"{file.at(*where, 'name')}: {name}.name: is not a field; the key {name!r} is the name")
        return None
    try:
        return model.model_validate({**body, "name": name})
    except ValidationError as error:
        problems += [_line(file, where, found, model) for found in error.errors(include_url=False)]
        return None


def _line(file: File, where: tuple[str, str], found: Any, model: type[Part]) -> str:
    path = found["loc"]
    said = problem(found, f"a {where[0].removesuffix('s')}")
    if found["type"] == "extra_forbidden" and len(path) == 1:
        return f"{file.at(*where, *path)}: {where[1]}.{said}; known fields: {', '.join(known_fields(model))}"
    field = str(path[0]) if path and found["type"] != "value_error" else ""  # what a check of ours says needs no hint
    hint = HINTS.get(field) or HINTS.get(f"{where[0]}.{field}")
    return f"{file.at(*where, *path)}: {where[1]}{'.' if path else ': '}{said}{f'; {hint}' if hint else ''}"


def _check_names(file: File, problems: list[str]) -> None:
    names = [set(content) if isinstance(content := file.content.get(kind), dict) else set() for kind in KINDS]
    for name in sorted(set.intersection(*names)):
        problems.append(f"{file.at('schedules', name)}: {name}: is the name of a webhook too; choose another")
