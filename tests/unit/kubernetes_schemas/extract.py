"""Makes a schema file of this folder: `extract.py OUT FILE...`, each FILE a CustomResourceDefinition; or `extract.py OUT FILE KIND...` with
Kubernetes' own definitions in one FILE, and the KINDs that are wanted of them.

What nobody checks by is left out (descriptions, extensions), equal parts become one under `$defs`, and an object takes no fields but those
that it names, as the API server does with strict field validation.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

KEPT = (
    "type",
    "enum",
    "required",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "const",
    "minProperties",
)
SMALL = 60  # a part that is said in fewer letters stays where it is
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}, "labels": STRINGS, "annotations": STRINGS},
    "additionalProperties": False,
    "required": ["name"],
}
PLAIN = {
    "IntOrString": ["integer", "string"],
    "Quantity": ["number", "string"],
    "Time": "string",
    "MicroTime": "string",
    "FieldsV1": "object",
}


def simplified(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The schema with what checks values, and no other fields than those that it names. `known` is what its references lead to."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        plain = PLAIN.get(name.rpartition(".")[2])
        return {"type": plain} if plain else simplified(known[name], known)
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    found = {name: schema[name] for name in KEPT if name in schema}
    if isinstance(found.get("type"), list):
        found["type"] = next(one for one in found["type"] if one != "null")
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), dict):
            found[name] = simplified(schema[name], known)
    for name in ("oneOf", "anyOf", "allOf"):
        if name in schema:
            found[name] = [loose(one) for one in schema[name]]
    if "properties" in schema:
        found["properties"] = {name: simplified(one, known) for name, one in sorted(schema["properties"].items()) if name != "status"}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in found:
            found["additionalProperties"] = False
    return found


def loose(schema: dict[str, Any]) -> dict[str, Any]:
    """A condition beside a schema: what it demands, without closing the object."""
    return {name: value for name, value in schema.items() if name in ("required", "type", "not", "properties", "enum", "pattern")}


class Shared:
    """Parts that are said more than once, under a name each."""

    def __init__(self, schemas: list[dict[str, Any]]) -> None:
        self._counted: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self.defs: dict[str, Any] = {}
        for schema in schemas:
            self._count(schema)

    def _count(self, part: Any) -> None:
        if isinstance(part, dict):
            said = json.dumps(part, sort_keys=True)
            self._counted[said] = self._counted.get(said, 0) + 1
            if self._counted[said] > 1 and len(said) > SMALL:
                return  # what is in it was counted
            for one in part.values():
                self._count(one)
        elif isinstance(part, list):
            for one in part:
                self._count(one)

    def folded(self, part: Any, top: bool = False) -> Any:
        """The part with references in place of what is shared."""
        if isinstance(part, list):
            return [self.folded(one) for one in part]
        if not isinstance(part, dict):
            return part
        said = json.dumps(part, sort_keys=True)
        if top or self._counted.get(said, 0) < 2 or len(said) <= SMALL or "type" not in part or not isinstance(part["type"], str | list):
            return {name: self.folded(one) for name, one in part.items()}
        if said not in self._names:
            name = self._names[said] = f"d{len(self._names)}"
            self.defs[name] = {key: self.folded(one) for key, one in part.items()}
        return {"$ref": f"#/$defs/{self._names[said]}"}


def of_kubernetes(file: Path, kinds: list[str]) -> dict[str, dict[str, Any]]:
    """The schemas of kinds such as `apps/v1/Deployment` or `v1/Service`, out of all definitions of Kubernetes."""
    known = json.loads(file.read_text())["$defs"]
    found = {}
    for kind in kinds:
        version, _, name = kind.rpartition("/")
        group, _, number = ("core/" + version if "/" not in version else version).rpartition("/")
        definition = f"io.k8s.api.{group.partition('.')[0]}.{number}.{name}"
        found[kind] = simplified(known[definition], known)
        found[kind]["properties"] |= {"apiVersion": {"const": version}, "kind": {"const": name}}
    return found


def of_definition(file: Path) -> dict[str, dict[str, Any]]:
    """The schemas of a CustomResourceDefinition, by `apiVersion/kind`. What every resource has is the API server's own, and not in it."""
    spec = yaml.safe_load(file.read_text())["spec"]
    kind, found = spec["names"]["kind"], {}
    for one in spec["versions"]:
        version = f"{spec['group']}/{one['name']}"
        if one["served"]:
            schema = found[f"{version}/{kind}"] = simplified(one["schema"]["openAPIV3Schema"], {})
            schema["properties"] |= {"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": METADATA}
    return found


def main() -> None:
    """Write the file."""
    out, first, *rest = sys.argv[1:]
    kinds = of_kubernetes(Path(first), rest) if first.endswith(".json") else {}
    for file in () if kinds else (first, *rest):
        kinds |= of_definition(Path(file))
    shared = Shared(list(kinds.values()))
    folded = {name: shared.folded(schema, top=True) for name, schema in sorted(kinds.items())}
    lines = [f"{json.dumps(name)}: {json.dumps(schema, sort_keys=True)}" for name, schema in shared.defs.items()]
    tops = [f"{json.dumps(name)}: {json.dumps(schema, sort_keys=True)}" for name, schema in folded.items()]
    joined = ['{"$defs": {', ",\n".join(lines), '}, "kinds": {', ",\n".join(tops), "}}"]
    Path(__file__).with_name(out).write_text("\n".join(joined) + "\n")


if __name__ == "__main__":
    main()
