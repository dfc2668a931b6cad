"""The tables of vendor errors name everything that the vendors define, and nothing else."""

import aiohttp
import pytest
from confluent_kafka import KafkaError

from loopwright.edges.translate import HTTP, KAFKA, http_error, kafka_error
from loopwright.errors import NotFound, Retryable, Terminal, Unreachable


def below(kind: type) -> set[type]:
    return {kind}.union(*(below(sub) for sub in kind.__subclasses__()))


def of_vendor(base: type, package: str) -> set[str]:
    return {kind.__name__ for kind in below(base) if kind.__module__.split(".")[0] == package}


def test_every_kafka_code_has_one_translation():
    codes = {name for name in dir(KafkaError) if isinstance(getattr(KafkaError, name), int)}
    assert set(KAFKA) == codes - {"NO_ERROR"}


def test_every_aiohttp_exception_has_a_translation():
    assert set(HTTP) == of_vendor(aiohttp.ClientError, "aiohttp")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("_ALL_BROKERS_DOWN", Unreachable), ("UNKNOWN_TOPIC_OR_PART", NotFound), ("NOT_ENOUGH_REPLICAS", Retryable), ("_FATAL", Terminal)],
)
def test_a_kafka_code_becomes_the_error_that_says_what_to_do(name, expected):
    error = kafka_error(name, "text", "sending failed", "h:1")
    assert type(error) is expected
    assert error.remedy
    assert "h:1" in error.why
    assert name in error.why


def test_a_kafka_code_from_the_future_is_retried_only_where_the_client_says_so():
    assert type(kafka_error("NEW_CODE", "t", "w", "s", retriable=True)) is Retryable
    assert type(kafka_error("NEW_CODE", "t", "w", "s")) is Terminal


def test_an_exception_class_that_no_table_names_is_taken_for_its_base():
    class NewReset(aiohttp.ServerDisconnectedError):
        pass

    assert http_error(NewReset()) == "ConnectionReset"
    assert http_error(KeyError()) == "Internal"
    assert http_error(aiohttp.ServerTimeoutError()) == http_error(TimeoutError()) == "Timeout"
