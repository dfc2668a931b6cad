"""May this user do on Kafka what is needed? Asked before the job is started, since the job itself could only fail, again and again."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from loopwright.edges.kafka import client_config, reachable
from loopwright.errors import InvalidSettings, Retryable
from loopwright.settings import Settings

_DEADLINE_S = 10.0
READ, WRITE = "READ", "WRITE"


def needed_by_the_job(settings: Settings) -> dict[str, tuple[str, ...]]:
    """By topic, the operations that the job performs there."""
    topics = settings.topics
    return {
        topics.messages: (READ, WRITE),
        topics.decisions: (READ, WRITE),
        topics.callbacks: (READ, WRITE),  # a record under a wrong key is filed again in its own topic
        topics.definitions: (READ,),
        topics.results: (WRITE,),
        topics.dead_letters: (WRITE,),
        topics.audit: (WRITE,),
        **({topics.questions: (WRITE,)} if settings.routing.elsewhere else {}),
    }


def lacking(settings: Settings, needed: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What the user of `settings.kafka.client` may not do, as "WRITE on topic x", sorted; none where Kafka does not say or does not answer.

    A topic that is not there lacks nothing: that is another error.
    """
    client = AdminClient(client_config(settings))
    asked = client.describe_topics(ck.TopicCollection(list(needed)), include_authorized_operations=True, request_timeout=_DEADLINE_S)
    return sorted(f"{operation} on topic {topic}" for topic, told in asked.items() for operation in _refused(told, needed[topic]))


def _refused(told: "Future[Any]", needed: tuple[str, ...]) -> Iterator[str]:
    try:
        allowed = told.result(timeout=_DEADLINE_S + 1).authorized_operations
    except TimeoutError:
        return
    except ck.KafkaException as error:
        if error.args[0].code() == ck.KafkaError.TOPIC_AUTHORIZATION_FAILED:
            yield from needed
        return
    if allowed is not None:
        yield from (name for name in needed if name not in {operation.name for operation in allowed})


def check_access(settings: Settings) -> None:
    """Return when nothing is known to be missing for the job; raise InvalidSettings naming each topic and operation otherwise.

    Asked only where the settings say who we are: a Kafka that lets anybody in is not asked, so starting there costs nothing.
    """
    if not settings.kafka.client:
        return
    try:
        reachable(settings)
    except Retryable:
        return  # the job waits for Kafka
    missing = lacking(settings, needed_by_the_job(settings))
    if missing:
        user = settings.kafka.client.get("sasl.username", "this client")
        remedy = "have these rights granted (`kafka-acls --add --allow-principal User:NAME ...`), or correct LOOPWRIGHT_KAFKA__CLIENT"
        raise InvalidSettings("the job may not do on Kafka what it has to do", f"{user} lacks {', '.join(missing)}", remedy)
