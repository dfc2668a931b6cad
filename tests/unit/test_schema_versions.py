"""The schemas that a registry is given: pinned version by version, and each compatible with all before it."""

import io
from copy import deepcopy
from itertools import combinations
from typing import Any

import avro.schema
import fastavro
import jsonschema_rs
import orjson
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.avro import MORE, datum_of, to_datum
from loopwright.settings import Topics
from loopwright.subjects import READ, Kind, Subject, closed, subjects
from loopwright.upcast import CURRENT_VERSION
from tests.schema_files import EACH, FOLDER, NAMES, files, versions
from tests.unit.schema_strategies import instances, refuses

OF_EACH = pytest.mark.parametrize(("subject", "kind"), EACH, ids=NAMES)
GROWN = [(subject, kind) for subject, kind in EACH if len(files(subject, kind)) > 1]
JSONS, AVROS = [one for one, kind in EACH if kind == "JSON"], [one for one, kind in EACH if kind == "AVRO"]


def reads(reader: dict[str, Any], writer: dict[str, Any]) -> bool:
    """Whether Avro's own check says that a reader with the one schema reads what was written with the other."""
    made = [avro.schema.parse(orjson.dumps(schema).decode()) for schema in (reader, writer)]
    return bool(ReaderWriterCompatibilityChecker().get_compatibility(*made).compatibility is SchemaCompatibilityType.compatible)


@OF_EACH
def test_each_schema_is_the_newest_that_is_pinned(subject: Subject, kind: Kind) -> None:
    assert versions(subject, kind)[-1:] == [subject.schema(kind)], "it changed: `make schemas` writes its next version"


def test_nothing_else_is_pinned() -> None:
    known = {file for subject, kind in EACH for file in files(subject, kind)}
    assert {file for file in FOLDER.rglob("*") if file.is_file()} == known


@pytest.mark.parametrize(("subject", "kind"), GROWN, ids=str)
def test_each_version_is_compatible_with_all_before_it(subject: Subject, kind: Kind) -> None:
    for old, new in combinations(versions(subject, kind), 2):
        if kind == "JSON":
            assert refuses(new, old) == []
        else:
            assert reads(new, old)
            assert reads(old, new), "a consumer of the version before could not go on"


def test_some_schema_has_grown() -> None:
    assert {kind for _, kind in GROWN} == {"JSON", "AVRO"}


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["required"].append("team"),
        lambda s: s["properties"].pop("team"),
        lambda s: s["properties"]["hop_limit"].update(minimum=2),
        lambda s: s["properties"]["hop_limit"].update(type="string"),
        lambda s: s["properties"]["actions"]["items"].update(maxLength=10),
        lambda s: s["properties"]["budget"]["properties"].pop("cost"),
    ],
)
def test_a_change_that_refuses_what_was_written_is_found_out(change: Any) -> None:
    old = closed(schemas.SCHEMAS[schemas.STARTED])
    new = deepcopy(old)
    change(new)
    assert refuses(new, old)


@pytest.mark.parametrize("subject", AVROS, ids=lambda one: one.name)
def test_a_field_that_must_be_there_is_found_out_in_avro(subject: Subject) -> None:
    new = deepcopy(subject.avro)
    new["fields"].append({"name": "extra", "type": "string"})
    assert not reads(new, subject.avro)


@given(st.data())
@settings(max_examples=60)
def test_what_any_version_wrote_the_newest_reads(data: st.DataObject) -> None:
    subject, _ = data.draw(st.sampled_from(GROWN))
    for schema in versions(subject, "JSON")[:-1]:
        body = data.draw(instances(schema))
        assert jsonschema_rs.Draft7Validator(subject.json).is_valid(body)
    for writer in versions(subject, "AVRO")[:-1]:
        old = fastavro.parse_schema(deepcopy(writer))
        body = data.draw(instances(versions(subject, "JSON")[0]))
        out = io.BytesIO()
        fastavro.schemaless_writer(out, old, to_datum(body, writer))
        found = subject.body(datum_of(out.getvalue(), old, subject.parsed), 256)
        assert without_nulls(found["data"]) == without_nulls(body["data"])


def without_nulls(value: Any) -> Any:
    """A record's data but for nulls in known fields, which Avro has for what is missing."""
    return {name: one for name, one in value.items() if one is not None}


def test_every_subject_has_a_name_of_its_own_and_its_record_s_name_in_it() -> None:
    topics = Topics()
    names = {subject.subject(kind, topics): (subject, kind) for subject, kind in EACH}
    assert len(names) == len(EACH)
    for name, (subject, kind) in names.items():
        schema = subject.schema(kind)
        record = schema["title"] if kind == "JSON" else f"{schema['namespace']}.{schema['name']}"
        assert name == f"{getattr(topics, subject.role)}-{record}"


def test_every_type_that_the_job_reads_has_a_subject_and_every_topic_has_one() -> None:
    assert {kind for kinds in READ.values() for kind in kinds} == set(schemas.SCHEMAS)
    assert {subject.role for subject in subjects()} == set(Topics.model_fields)


def test_records_of_a_later_schema_version_need_schemas_that_say_so() -> None:
    defaults = {field["default"] for one in AVROS for field in one.avro["fields"] if field["name"] == "schemaversion"}
    assert defaults == {CURRENT_VERSION}  # what an Avro record without it is taken for


def test_no_field_is_called_as_what_is_kept_beside_the_fields() -> None:
    def names(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(names, schema))
        if not isinstance(schema, dict):
            return set()
        return set(schema.get("properties", ())) | set().union(*map(names, schema.values()))

    assert not any(MORE in names(subject.data) for subject in AVROS)


@pytest.mark.parametrize("subject", JSONS, ids=lambda one: f"{one.role}-{one.type}")
def test_a_json_schema_is_one(subject: Subject) -> None:
    jsonschema_rs.meta.validate(subject.json)
