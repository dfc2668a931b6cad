"""Opening the store that an address names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopwright.agent.idempotency import IdempotencyStore
from loopwright.agent.idempotency.sqlite import SqliteStore
from loopwright.clock import now_ms
from loopwright.errors import InvalidSettings

FILE = "calls.sqlite"


def open_store(address: str, reading: bool = False) -> IdempotencyStore:
    """The store at `sqlite:///FILE` (`sqlite:////` for an absolute path), `postgresql://...`, or simply the path of a SQLite file.

    With `reading` it has to be there, and is not changed.
    Raises InvalidSettings for another address, StoreUnavailable where the database does not answer.
    """
    scheme, mark, rest = address.partition("://")
    if scheme in ("postgresql", "postgres") and mark:
        from loopwright.agent.idempotency.postgresql import PostgresStore  # its client library is loaded only where it is used

        return PostgresStore(address, reading=reading)
    if not mark:
        return SqliteStore(Path(address), now_ms, reading)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteStore(Path(unquote(rest[1:])), now_ms, reading)
    remedy = "write sqlite:///FILE, sqlite:////ABSOLUTE/FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    raise InvalidSettings("the store of an agent cannot be opened", f"{scheme!r} is not an address of a database known here", remedy)


def shown(address: str) -> str:
    """The address without user and password, as it may be printed."""
    scheme, mark, _ = address.partition("://")
    if not mark or scheme == "sqlite":
        return address
    parts = urlsplit(address)
    return f"{scheme}://{parts.hostname or ''}{parts.path}"
