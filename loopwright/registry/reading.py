"""YAML read as JSON: duplicate keys and keys that are not text are errors, dates and `yes` stay text. The lines of all fields are noted."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Steps = tuple[str | int, ...]
_NOT_JSON = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")


class JsonLoader(yaml.SafeLoader):
    """PyYAML's safe loader, held to what JSON can say."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are text, each of them once."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "a key that is not text; put it in quotes", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is there twice; remove one", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


JsonLoader.yaml_implicit_resolvers = {
    letter: [(tag, form) for tag, form in resolvers if tag not in _NOT_JSON]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
JsonLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


@dataclass(frozen=True)
class Source:
    """What stood in a file: its content, and the line of each field."""

    path: Path
    content: dict[str, Any]
    lines: dict[Steps, int]

    def at(self, *steps: str | int) -> str:
        """`file:line` of the field, or of the nearest one round it."""
        for length in range(len(steps), 0, -1):
            if steps[:length] in self.lines:
                return f"{self.path}:{self.lines[steps[:length]]}"
        return f"{self.path}:1"


def read_yaml(path: Path, problems: list[str], wanted: str = "one agent definition (name:, version:, ...) per file") -> Source | None:
    """The mapping in the file `path`; None where it has none, with the reason (and what is `wanted`) added to `problems`."""
    try:
        text = path.read_text(encoding="utf-8")
        loader = JsonLoader(text)
        try:
            node = loader.get_single_node()
            content = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        problems.append(f"{path}:{line}: {error.problem}")
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        problems.append(f"{path}:1: cannot be read as YAML: {' '.join(str(error).split())}")
        return None
    if not isinstance(content, dict) or node is None:
        problems.append(f"{path}:1: is not a mapping; write {wanted}")
        return None
    lines: dict[Steps, int] = {}
    _note_lines(node, (), lines, set())
    return Source(path, content, lines)


def _note_lines(node: yaml.Node, steps: Steps, lines: dict[Steps, int], inside: set[int]) -> None:
    if id(node) in inside:  # an alias that contains itself
        return
    inside.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines.setdefault((*steps, str(key.value)), key.start_mark.line + 1)
            _note_lines(value, (*steps, str(key.value)), lines, inside)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines.setdefault((*steps, number), value.start_mark.line + 1)
            _note_lines(value, (*steps, number), lines, inside)
    inside.discard(id(node))
