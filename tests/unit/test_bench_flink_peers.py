import orjson

from bench.jobs.ml_predict_sql import statements
from bench.jobs.offsets import Offsets
from bench.workload import asked_about, lead


def test_a_crash_begins_again_at_the_first_record_that_is_not_finished() -> None:
    offsets = Offsets()
    for offset in range(3):
        offsets.taken(0, offset)
    offsets.taken(1, 7)
    assert offsets.safe() == {0: 0, 1: 7}
    offsets.finished(0, 1)
    offsets.finished(1, 7)
    assert offsets.safe() == {0: 0, 1: 8}
    offsets.finished(0, 0)
    assert offsets.safe() == {0: 2, 1: 8}
    offsets.finished(0, 2)
    assert offsets.safe() == {0: 3, 1: 8}


def test_the_question_in_sql_holds_the_document_where_the_simulated_model_looks_for_it() -> None:
    view = next(statement for statement in statements("kafka:1", "http://model") if statement.startswith("CREATE TEMPORARY VIEW"))
    literal = view.split("`document`, '", 1)[1].split("' || `document`")[0].replace("''", "'")
    asked = {"messages": [{"role": "user", "content": literal + orjson.dumps(lead(7)).decode()}]}
    assert asked_about(asked) == lead(7)


def test_a_quotation_mark_ends_no_text_in_sql() -> None:
    model = statements("kafka:1", "http://o'brien")[2]
    assert "'http://o''brien/v1/chat/completions'" in model
    assert model.replace("''", "").count("'") % 2 == 0
