"""Vendor errors into ours, once, by table.

A table goes by the *name* of an exception class or error code, so that nothing here imports a client library; tests/unit checks that each
table names everything its library defines. What a newer library adds falls to its base class (exceptions) or is Terminal (Kafka codes).
"""

import re
import ssl
from collections.abc import Mapping

from loopwright.errors import Conflict, InvalidDocument, InvalidSettings, LoopwrightError, NotFound, Retryable, Terminal, Unreachable


def _codes(error: type[LoopwrightError], names: str) -> dict[str, type[LoopwrightError]]:
    return dict.fromkeys(names.split(), error)


KAFKA: Mapping[str, type[LoopwrightError]] = {
    **_codes(
        Unreachable,
        """
        _TRANSPORT _RESOLVE _ALL_BROKERS_DOWN _TIMED_OUT _MSG_TIMED_OUT _TIMED_OUT_QUEUE _NODE_UPDATE _WAIT_COORD
        _DESTROY_BROKER _UNKNOWN_BROKER REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE NETWORK_EXCEPTION COORDINATOR_NOT_AVAILABLE
        """,
    ),
    **_codes(
        Retryable,
        """
        _FAIL _QUEUE_FULL _ISR_INSUFF _IN_PROGRESS _PREV_IN_PROGRESS _WAIT_CACHE _INTR _PARTIAL _RETRY _PURGE_QUEUE
        _PURGE_INFLIGHT _OUTDATED _ASSIGNMENT_LOST _PARTITION_EOF _MAX_POLL_EXCEEDED _DESTROY UNKNOWN INVALID_MSG
        LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REPLICA_NOT_AVAILABLE STALE_CTRL_EPOCH COORDINATOR_LOAD_IN_PROGRESS
        NOT_COORDINATOR NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND ILLEGAL_GENERATION UNKNOWN_MEMBER_ID
        REBALANCE_IN_PROGRESS NOT_CONTROLLER CONCURRENT_TRANSACTIONS OPERATION_NOT_ATTEMPTED KAFKA_STORAGE_ERROR
        REASSIGNMENT_IN_PROGRESS FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND
        FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE MEMBER_ID_REQUIRED
        PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED
        UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID FENCED_MEMBER_EPOCH STALE_MEMBER_EPOCH UNKNOWN_CONTROLLER_ID
        TRANSACTION_ABORTABLE SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH SHARE_SESSION_LIMIT_REACHED
        REBOOTSTRAP_REQUIRED STREAMS_INVALID_TOPOLOGY_EPOCH
        """,
    ),
    **_codes(
        NotFound,
        """
        _UNKNOWN_PARTITION _UNKNOWN_TOPIC _UNKNOWN_GROUP _NOENT _NO_OFFSET _AUTO_OFFSET_RESET UNKNOWN_TOPIC_OR_PART
        OFFSET_OUT_OF_RANGE GROUP_ID_NOT_FOUND DELEGATION_TOKEN_NOT_FOUND RESOURCE_NOT_FOUND NO_REASSIGNMENT_IN_PROGRESS
        UNKNOWN_SUBSCRIPTION_ID VOTER_NOT_FOUND
        """,
    ),
    **_codes(
        Conflict,
        """
        _CONFLICT _EXISTING_SUBSCRIPTION TOPIC_ALREADY_EXISTS NON_EMPTY_GROUP GROUP_SUBSCRIBED_TO_TOPIC DUPLICATE_RESOURCE
        DUPLICATE_VOTER UNRELEASED_INSTANCE_ID
        """,
    ),
    **_codes(InvalidDocument, "MSG_SIZE_TOO_LARGE INVALID_MSG_SIZE RECORD_LIST_TOO_LARGE INVALID_RECORD INVALID_TIMESTAMP"),
    **_codes(
        InvalidSettings,
        """
        _SSL _AUTHENTICATION _INVALID_ARG _NOT_CONFIGURED _UNSUPPORTED_FEATURE _UNKNOWN_PROTOCOL TOPIC_EXCEPTION
        INVALID_GROUP_ID INVALID_SESSION_TIMEOUT INVALID_REQUIRED_ACKS TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED
        CLUSTER_AUTHORIZATION_FAILED TRANSACTIONAL_ID_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED
        UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SASL_AUTHENTICATION_FAILED SECURITY_DISABLED UNACCEPTABLE_CREDENTIAL
        INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG POLICY_VIOLATION
        DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_EXPIRED INVALID_TRANSACTION_TIMEOUT
        """,
    ),
    **_codes(
        Terminal,
        """
        _BAD_MSG _BAD_COMPRESSION _CRIT_SYS_RESOURCE _FS _ASSIGN_PARTITIONS _REVOKE_PARTITIONS _STATE _NOT_IMPLEMENTED
        _KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION _VALUE_DESERIALIZATION _READ_ONLY _UNDERFLOW
        _INVALID_TYPE _FATAL _INCONSISTENT _GAPLESS_GUARANTEE _FENCED _APPLICATION _NOOP _LOG_TRUNCATION
        _INVALID_DIFFERENT_RECORD OFFSET_METADATA_TOO_LARGE INCONSISTENT_GROUP_PROTOCOL INVALID_COMMIT_OFFSET_SIZE
        UNSUPPORTED_VERSION INVALID_REQUEST UNSUPPORTED_FOR_MESSAGE_FORMAT OUT_OF_ORDER_SEQUENCE_NUMBER
        DUPLICATE_SEQUENCE_NUMBER INVALID_PRODUCER_EPOCH INVALID_TXN_STATE INVALID_PRODUCER_ID_MAPPING
        TRANSACTION_COORDINATOR_FENCED LOG_DIR_NOT_FOUND UNKNOWN_PRODUCER_ID DELEGATION_TOKEN_OWNER_MISMATCH
        DELEGATION_TOKEN_REQUEST_NOT_ALLOWED INVALID_PRINCIPAL_TYPE TOPIC_DELETION_DISABLED UNSUPPORTED_COMPRESSION_TYPE
        GROUP_MAX_SIZE_REACHED FENCED_INSTANCE_ID ELECTION_NOT_NEEDED PRODUCER_FENCED INCONSISTENT_VOTER_SET
        INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED PRINCIPAL_DESERIALIZATION_FAILURE UNSUPPORTED_ASSIGNOR
        MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE TELEMETRY_TOO_LARGE INVALID_REGISTRATION INVALID_RECORD_STATE
        FENCED_STATE_EPOCH INVALID_VOTER_KEY INVALID_REGULAR_EXPRESSION STREAMS_INVALID_TOPOLOGY STREAMS_TOPOLOGY_FENCED
        """,
    ),
}

_KAFKA_REMEDIES: Mapping[type[LoopwrightError], str] = {
    Unreachable: "start the local platform with `loopwright up`, or set LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS to a broker that answers",
    Retryable: "try again in a moment; `loopwright status` shows whether the broker is well",
    NotFound: "`loopwright up` creates the topics; on a Kafka of your own create them, or correct LOOPWRIGHT_TOPICS__*",
    Conflict: "use what is there, or choose another name",
    InvalidDocument: "make the record smaller, or raise max.message.bytes of the topic",
    InvalidSettings: "correct LOOPWRIGHT_KAFKA__CLIENT (security.protocol, sasl.*, ssl.*) or the rights of that user",
    Terminal: "see `loopwright doctor` and the broker's log",
}


def kafka_error(name: str, text: str, what: str, servers: str, retriable: bool = False) -> LoopwrightError:
    """The error for a Kafka code `name` (such as "_TRANSPORT"), said as `text`, met while doing `what` at the brokers `servers`."""
    kind = KAFKA.get(name, Retryable if retriable else Terminal)
    return kind(what, f"{servers}: {text} ({name})", _KAFKA_REMEDIES[kind])


HTTP: Mapping[str, str] = {  # exception class of aiohttp -> our error class
    "ClientError": "ConnectionFailed",
    "ClientConnectionError": "ConnectionFailed",
    "ClientConnectorError": "ConnectionFailed",  # by its errno: ConnectionRefused
    "UnixClientConnectorError": "ConnectionFailed",
    "ClientProxyConnectionError": "ConnectionFailed",
    "ClientHttpProxyError": "ConnectionFailed",
    "ServerConnectionError": "ConnectionFailed",
    "ClientConnectorDNSError": "DnsFailure",
    "ClientSSLError": "TlsError",
    "ClientConnectorSSLError": "TlsError",
    "ClientConnectorCertificateError": "TlsError",
    "ServerFingerprintMismatch": "TlsError",
    "ClientOSError": "ConnectionReset",
    "ClientConnectionResetError": "ConnectionReset",
    "ServerDisconnectedError": "ConnectionReset",
    "ClientPayloadError": "ConnectionReset",
    "UploadAbortedError": "ConnectionReset",
    "ServerTimeoutError": "Timeout",
    "ConnectionTimeoutError": "Timeout",
    "SocketTimeoutError": "Timeout",
    "InvalidURL": "InvalidUrl",
    "InvalidUrlClientError": "InvalidUrl",
    "NonHttpUrlClientError": "InvalidUrl",
    "InvalidUrlRedirectClientError": "InvalidUrl",
    "NonHttpUrlRedirectClientError": "InvalidUrl",
    "RedirectClientError": "Redirected",
    "TooManyRedirects": "Redirected",
    "ClientResponseError": "InvalidResponse",
    "ContentTypeError": "InvalidResponse",
    "WSServerHandshakeError": "InvalidResponse",
}


_IDENTITY_ALERT = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)")


def http_error(error: Exception) -> str:
    """Our error class of an exception of aiohttp, by the nearest class that the table names."""
    if isinstance(error, TimeoutError):
        return "Timeout"
    if isinstance(getattr(error, "os_error", error), ConnectionRefusedError):
        return "ConnectionRefused"
    if isinstance(error.__cause__, ssl.SSLError) and _IDENTITY_ALERT.search(error.__cause__.reason or ""):
        return "TlsError"  # with TLS 1.3 the client's certificate is refused after the handshake, on a connection that seemed open
    return next((HTTP[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in HTTP), "Internal")
