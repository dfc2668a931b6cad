"""Reading a folder of agent definitions. Everything that is wrong is said at once, each with file, line, field, value and remedy."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from loopwright.errors import InvalidDefinition
from loopwright.registry.contract import Contract
from loopwright.registry.definition import AgentDefinition, cut, problem
from loopwright.registry.reading import Source, read_yaml
from loopwright.registry.sensitivity import MARK, condition_on, marked

DURATIONS = (("timeout",), ("callback_timeout",), ("retry", "initial"), ("retry", "max"))
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def load_team(folder: Path, variables: Mapping[str, str]) -> list[AgentDefinition]:
    """The definitions in `folder` (`*.yaml`, `*.yml`), in the order of the files' names.

    `${NAME}` and `${NAME:-default}` in an endpoint are filled from `variables`; an empty variable counts as unset, as in a shell.
    Raises InvalidDefinition with every problem of every file.
    """
    files = sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml")) if folder.is_dir() else []
    if not files:
        why = "there is no *.yaml file in it" if folder.is_dir() else "there is no such folder"
        raise InvalidDefinition(f"no agent definitions in {folder}", why, "name a folder that holds one YAML file per agent")
    problems: list[str] = []
    loaded: list[tuple[Source, AgentDefinition]] = []
    for path in files:
        source = read_yaml(path, problems)
        definition = None if source is None else _define(source, variables, problems)
        if source is not None and definition is not None:
            loaded.append((source, definition))
    complete = len(loaded) == len(files)
    _check_team(loaded, complete, problems)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise InvalidDefinition(f"agent definitions in {folder} cannot be used", f"{count}\n    " + "\n    ".join(problems), REMEDY)
    return [definition for _, definition in loaded]


REMEDY = "correct the lines above, then run `loopwright agents check` on the folder"


def load_one(path: Path, variables: Mapping[str, str]) -> AgentDefinition:
    """The one definition in the file `path`. Raises InvalidDefinition with everything that is wrong with it; `after` is not followed."""
    problems: list[str] = []
    source = read_yaml(path, problems)
    definition = None if source is None else _define(source, variables, problems)
    if definition is None or problems:
        raise InvalidDefinition(f"the agent definition {path} cannot be used", "\n    ".join(problems), REMEDY)
    return definition


def _define(source: Source, variables: Mapping[str, str], problems: list[str]) -> AgentDefinition | None:
    before = len(problems)
    content = dict(source.content)
    _check_units(source, problems)
    if isinstance(content.get("endpoint"), str):
        content["endpoint"] = _filled(content["endpoint"], variables, source, problems)
    try:
        definition = AgentDefinition.model_validate(content)
        orjson.dumps(definition.model_dump(mode="json"))
    except ValidationError as error:
        for found in error.errors(include_url=False):
            problems.append(f"{source.at(*found['loc'])}: {problem(found)}{_hint(found)}")
        return None
    except TypeError as error:
        problems.append(f"{source.at()}: the definition is not JSON: {error}; write plain JSON values")
        return None
    _check_contracts(source, definition, problems)
    return definition if len(problems) == before else None


def _check_units(source: Source, problems: list[str]) -> None:
    for path in DURATIONS:
        value: Any = source.content
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            problems.append(f"{source.at(*path)}: {'.'.join(path)}: {value} has no unit; write {value}s or {value}ms")


def _filled(endpoint: str, variables: Mapping[str, str], source: Source, problems: list[str]) -> str:
    def value_of(found: re.Match[str]) -> str:
        value = variables.get(found[1]) or found[2]
        if value is None:
            problems.append(
                f"{source.at('endpoint')}: endpoint: {cut(endpoint)} names the variable {found[1]}, which is not set; "
                f"set it, or write ${{{found[1]}:-http://127.0.0.1:8801}}"
            )
            return "http://unset"
        return value

    return _VARIABLE.sub(value_of, endpoint)


HINTS = {
    "name": "use small letters, digits and hyphens",
    "team": "use small letters, digits and hyphens",
    "version": "write a whole number from 1 on",
    "endpoint": "write the URL that is to be called, as in http://127.0.0.1:8801/agents/lead-scoring",
    "input": "write a JSON Schema with `type: object` and `properties`",
    "output": "write a JSON Schema with `type: object` and `properties`",
    "description": "say in plain words what the agent does and when it is to be used",
    "reply": "write response or callback",
}


def _hint(found: Any) -> str:
    if found["type"] == "extra_forbidden":
        return f"; known fields: {', '.join(sorted(known_fields()))}" if len(found["loc"]) == 1 else ""
    hint = HINTS.get(str(found["loc"][0])) if found["loc"] else None
    return f"; {hint}" if hint else ""


def known_fields() -> frozenset[str]:
    """The keys that a definition file may have, as they are written in YAML."""
    return frozenset(name.removesuffix("_ms") for name in AgentDefinition.model_fields)


def _check_contracts(source: Source, definition: AgentDefinition, problems: list[str]) -> None:
    for side, schema in (("input", definition.input), ("output", definition.output)):
        try:
            contract = Contract(schema)
        except InvalidDefinition as error:
            place, _, why = error.why.partition(": ")
            steps = () if place == "the schema" else tuple(place.split("."))
            problems.append(f"{source.at(side, *steps)}: {'.'.join((side, *steps))}: {why}")
            continue
        for number, example in enumerate(definition.examples):
            if isinstance(example, Mapping) and side in example and not contract.accepts(example[side]):
                line = f"examples.{number}.{side} breaks the contract: {contract.errors(example[side])[0]}; correct one of the two"
                problems.append(f"{source.at('examples', number)}: {line}")


def _check_sensitive(loaded: list[tuple[Source, AgentDefinition]], problems: list[str]) -> None:
    """What one agent of a team marks is encrypted for all: no other contract may depend on its value."""
    for team in {definition.team for _, definition in loaded}:
        ours = [
            (source, side, schema) for source, d in loaded if d.team == team for side, schema in (("input", d.input), ("output", d.output))
        ]
        for name in sorted(frozenset[str]().union(*(marked(schema) for _, _, schema in ours))):
            for source, side, schema in ours:
                word = condition_on(schema, name) if name in schema["properties"] and name not in marked(schema) else ""
                if word:
                    line = f"{side}.{word}: depends on {name}, which an agent of team {team!r} marks {MARK}; it cannot be looked into"
                    problems.append(f"{source.at(side, word)}: {line}")


def _check_team(loaded: list[tuple[Source, AgentDefinition]], complete: bool, problems: list[str]) -> None:
    seen: dict[tuple[str, str], Source] = {}
    for source, definition in loaded:
        first = seen.setdefault((definition.team, definition.name), source)
        if first is not source:
            taken = f"{definition.name!r} is taken by {first.path}; choose another, or remove one of the files"
            problems.append(f"{source.at('name')}: name: {taken}")
    _check_sensitive(loaded, problems)
    if complete:  # otherwise an agent may be missing only because its own file is wrong
        _check_after(loaded, problems)


def _check_after(loaded: list[tuple[Source, AgentDefinition]], problems: list[str]) -> None:
    known = {(definition.team, definition.name): definition for _, definition in loaded}
    for source, definition in loaded:
        for number, name in enumerate(definition.after):
            if (definition.team, name) not in known:
                names = ", ".join(sorted(other for team, other in known if team == definition.team))
                problems.append(f"{source.at('after', number)}: after: {name!r} is no agent of team {definition.team!r}; known: {names}")
        cycle = _cycle(definition, known)
        if cycle and definition.name == min(cycle):
            problems.append(f"{source.at('after')}: after: {' -> '.join((*cycle, cycle[0]))} goes round in a circle; take out one of them")


def _cycle(start: AgentDefinition, known: Mapping[tuple[str, str], AgentDefinition]) -> tuple[str, ...]:
    """A way from `start` back to itself along `after`, or nothing."""
    ways: list[tuple[str, ...]] = [(start.name,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        definition = known.get((start.team, way[-1]))
        for name in definition.after if definition else ():
            if name == start.name:
                return way
            if name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return ()
