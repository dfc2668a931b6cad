"""A script of SQL before it is run: what it says of itself in its first comments, and what its `${...}` stand for.

    -- pipeline: sink-postgresql     it is a job that goes on until it is stopped, under this name
    -- jars: postgresql              the sets of jars.lock that it needs

`${NAME}` stands for what is known here by that name, else for the environment variable NAME, else for what is in the file that the variable
NAME_FILE names; `${NAME:-default}` has a value where there is none of these. Each is written as it may stand in a literal.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loopwright.errors import InvalidSettings, NotFound
from loopwright.masking import MASK, is_secret

_HOLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_SAID = re.compile(r"-- (pipeline|jars): *(.*?) *$")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SHORTEST = 4  # a shorter secret stands in too much that is none


@dataclass(frozen=True, slots=True)
class Script:
    """Statements, and where they are from. `pipeline`: its name (empty: it is none); `jars`: the sets that it needs."""

    origin: str
    text: str
    pipeline: str = ""
    jars: tuple[str, ...] = ()


def read_script(path: Path) -> Script:
    """The script in a file. Raises NotFound where it cannot be read, InvalidSettings where its first comments cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound("the script cannot be read", str(error), "give the path of a file of SQL statements, in UTF-8") from error
    said = dict(_said(text))
    name = said.get("pipeline", "")
    if "pipeline" in said and not _NAME.fullmatch(name):
        why = f"-- pipeline: {name!r}"
        raise InvalidSettings(f"{path} cannot be run", why, "name the pipeline with small letters, digits and hyphens, 63 at most")
    return Script(str(path), text, name, tuple(one for one in re.split(r"[ ,]+", said.get("jars", "")) if one))


def _said(text: str) -> Iterator[tuple[str, str]]:
    """What the comments say that the script begins with."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("--"):
            return
        found = _SAID.fullmatch(line)
        if found:
            yield found[1], found[2]


class Values(Mapping[str, str]):
    """What `${NAME}` stands for: `known`, or `made` when it is asked for, or from the environment. `secrets` are those asked for so far.

    What makes a value raises KeyError where there is none.
    """

    def __init__(self, known: Mapping[str, str], made: Mapping[str, Callable[[], str]], environment: Mapping[str, str]) -> None:
        self._known, self._made, self._environment = known, made, environment
        self.secrets: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """Raises KeyError where there is nothing by that name, InvalidSettings for a file that cannot be read."""
        if name in self._known:
            return self._known[name]
        value, secret = (self._made[name](), False) if name in self._made else self._from_outside(name)
        if secret or is_secret(name):
            self.secrets.add(value)
        return literal(value)

    def _from_outside(self, name: str) -> tuple[str, bool]:
        """The value, and whether it is to be kept secret whatever its name."""
        if given := self._environment.get(name):
            return given, False
        file = self._environment.get(f"{name}_FILE")
        if not file:
            raise KeyError(name)
        try:
            return Path(file).expanduser().read_text(encoding="utf-8").strip(), True
        except (OSError, UnicodeDecodeError) as error:
            why = f"{name}_FILE={file}: {type(error).__name__}"
            raise InvalidSettings(f"${{{name}}} cannot be read", why, "name a readable file that holds the value alone") from error

    def __iter__(self) -> Iterator[str]:
        """The names of what does not come from the environment."""
        return iter([*self._known, *self._made])

    def __len__(self) -> int:
        """How many these are."""
        return len(self._known) + len(self._made)


def literal(text: str) -> str:
    """`text` as it stands in a literal of SQL."""
    return text.replace("'", "''")


def filled(text: str, values: Mapping[str, str], name: str) -> str:
    """A script with its `${...}` filled in. Raises NotFound for one that has no value; `name` is the script's."""

    def value(found: re.Match[str]) -> str:
        try:
            return values[found[1]]
        except KeyError:
            if found[2] is not None:
                return str(found[2])
        remedy = f"set the variable {found[1]}, or {found[1]}_FILE to a file that holds it; known are {', '.join(sorted(values))}"
        raise NotFound(f"{name} cannot be run", f"there is no ${{{found[1]}}}", remedy)

    return _HOLE.sub(value, text)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """`text` with `***` for each of these secrets, as it is and as it stands in a literal."""
    forms = {form for secret in secrets if len(secret) >= SHORTEST for form in (secret, literal(secret))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text
