import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.web.form import FIELDS, SOURCES, complaints, lead_of, read_form

LEAD = {"name": "Ada", "email": "ada@example.com", "company_name": "Acme", "lead_source": "webinar"}


def test_the_needed_fields_are_enough() -> None:
    assert complaints(LEAD) == {}
    assert lead_of({**LEAD, "job_title": "", "form_id": "x"}) == LEAD


def test_every_field_that_is_missing_is_named() -> None:
    assert set(complaints({})) == {field.name for field in FIELDS if field.required}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "ada"),
        ("email", "Ada <ada@example.com>"),
        ("lead_source", "a friend"),
        ("name", "x" * 201),
        ("name", "Ada\x00"),
        ("name", "Ada\nBcc: x"),
        ("project_description", "x" * 10_001),
    ],
)
def test_a_wrong_field_is_named(field: str, value: str) -> None:
    assert set(complaints({**LEAD, field: value})) == {field}


@pytest.mark.parametrize("source", SOURCES)
def test_every_offered_source_is_taken(source: str) -> None:
    assert complaints({**LEAD, "lead_source": source}) == {}


def test_a_description_may_have_lines() -> None:
    typed = read_form(b"project_description=one%0D%0Atwo%09three")
    assert typed == {"project_description": "one\ntwo\tthree"}
    assert complaints({**LEAD, **typed}) == {}


def test_unknown_fields_are_left_out() -> None:
    assert read_form(b"name=Ada&profile=%7B%7D&score=100") == {"name": "Ada"}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        typed = read_form(body)
    except ValueError:
        return
    assert set(complaints(typed)) >= {field.name for field in FIELDS if field.required and not typed.get(field.name)}
