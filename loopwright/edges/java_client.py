"""Kafka client properties for the job's clients, which are Java's, from those that the settings give, which are librdkafka's.

Most have one name in both. Those by which a client says who it is do not: a user would have to give each twice, and each library refuses or
ignores the other's. So the settings take librdkafka's names, and this is the one place that knows Java's.
"""

from collections.abc import Mapping

from loopwright.errors import InvalidSettings

_SHADED = "org.apache.flink.kafka.shaded."  # the connector's jar brings Kafka's client under such names
_SECURITY = "org.apache.kafka.common.security"
_LOGIN = {
    "PLAIN": f"{_SECURITY}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_SECURITY}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_SECURITY}.scram.ScramLoginModule",
}
_RENAMED = {"sasl.mechanisms": "sasl.mechanism"}
_TAKEN = {"sasl.username", "sasl.password", "ssl.ca.location", "ssl.certificate.location", "ssl.key.location"}


def java_properties(client: Mapping[str, str], shaded: bool = True) -> dict[str, str]:
    """What Java's clients are given for `client`: user and password as a JAAS line (KIP-85), certificates as PEM files (KIP-651).

    What has Java's own name is passed on as it is, and wins. `shaded`: for the client in Flink's connector. Raises InvalidSettings for
    what Java's clients cannot be given.
    """
    found = {_RENAMED.get(name, name): value for name, value in client.items() if name not in _TAKEN}
    return {**_login(client, found.get("sasl.mechanism", ""), _SHADED if shaded else ""), **_certificates(client), **found}


def _login(client: Mapping[str, str], mechanism: str, where: str) -> dict[str, str]:
    if "sasl.username" not in client or "sasl.jaas.config" in client:
        return {}
    module = _LOGIN.get(mechanism.upper())
    if module is None:
        why = f"sasl.username is given, and sasl.mechanism is {mechanism!r}"
        raise InvalidSettings("the job cannot log in to Kafka", why, f"set sasl.mechanism to one of {', '.join(_LOGIN)}")
    user, password = (_quoted(client.get(name, "")) for name in ("sasl.username", "sasl.password"))
    return {"sasl.jaas.config": f"{where}{module} required username={user} password={password};"}


def _certificates(client: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if "ssl.ca.location" in client:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": client["ssl.ca.location"]}
    own, key = client.get("ssl.certificate.location"), client.get("ssl.key.location")
    if own != key:
        why = f"ssl.certificate.location is {own}, ssl.key.location is {key}"
        raise InvalidSettings("the job's certificate cannot be used", why, "put key and certificate into one PEM file and name it in both")
    return found | ({"ssl.keystore.type": "PEM", "ssl.keystore.location": own} if own is not None else {})


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
