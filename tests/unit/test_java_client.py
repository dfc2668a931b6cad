"""Client properties for Java's Kafka clients."""

import pytest

from loopwright.edges.java_client import java_properties
from loopwright.errors import InvalidSettings

SCRAM = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule"


def test_a_password_is_given_as_java_wants_it_whatever_letters_it_has() -> None:
    given = {"security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "ada", "sasl.password": 'a"b\\c'}
    assert java_properties(given) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": f'{SCRAM} required username="ada" password="a\\"b\\\\c";',
    }


def test_certificates_are_pem_files_in_both() -> None:
    given = {"ssl.ca.location": "/ca.pem", "ssl.certificate.location": "/me.pem", "ssl.key.location": "/me.pem", "ssl.key.password": "x"}
    assert java_properties(given) == {
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/ca.pem",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": "/me.pem",
        "ssl.key.password": "x",
    }


@pytest.mark.parametrize(
    "given",
    [
        {"sasl.username": "ada", "sasl.password": "secret"},
        {"sasl.username": "ada", "sasl.password": "secret", "sasl.mechanism": "GSSAPI"},
        {"ssl.certificate.location": "/me.pem", "ssl.key.location": "/key.pem"},
    ],
)
def test_what_java_cannot_be_given_is_refused_without_the_password(given: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings) as refused:
        java_properties(given)
    assert "secret" not in str(refused.value)


def test_what_has_the_same_name_in_both_is_passed_on() -> None:
    assert java_properties({"delivery.timeout.ms": "5000"}) == {"delivery.timeout.ms": "5000"}
    assert java_properties({}) == {}
