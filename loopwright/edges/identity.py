"""What a call to an agent proves itself with: resolved here, from the name in the definition, when the call is made and not before.

So no token is in a definition, a record, the job's state or a payload; and none comes back from here: an agent that repeats the token it
was sent is not quoted.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopwright.edges.secrets import SecretsFile
from loopwright.errors import InvalidSettings

MASK = "***"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")  # RFC 6750, 2.1: b64token
_SET = "LOOPWRIGHT_SECRETS_FILE"
_FILES = {"certificate", "key"}


class NoIdentity(Exception):
    """The call cannot prove who makes it, so it is not made. `kind` is MissingSecret or InvalidSecret; the text says what to do."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Identity:
    """Headers to send along, the TLS context to connect with (None: the usual one), and what must not be repeated."""

    headers: Mapping[str, str]
    tls: ssl.SSLContext | None = None
    token: str = ""

    def without_token(self, text: str) -> str:
        """`text` without the token, as it stands or as JSON may write it."""
        if not self.token:
            return text
        return text.replace(self.token, MASK).replace(self.token.replace("/", "\\/"), MASK)


NOBODY = Identity({})


class Identities:
    """The identities that definitions name, from the secrets file at `path`."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._secrets: SecretsFile | None = None
        self._contexts: dict[str, tuple[object, ssl.SSLContext]] = {}

    def of(self, auth: Mapping[str, Any] | None) -> Identity:
        """The identity for {"type": "bearer" or "mtls", "secret": name}; nobody's for None. Raises NoIdentity."""
        if not auth or auth.get("type") == "none":
            return NOBODY
        kind, name = str(auth.get("type")), str(auth.get("secret"))
        secrets = self._opened(name)
        return _bearer(name, secrets.texts(name)) if kind == "bearer" else Identity({}, self._tls(name, secrets.files(name)))

    def _opened(self, name: str) -> SecretsFile:
        if self._secrets is None:
            if self._path is None:
                raise NoIdentity("MissingSecret", f"the secret {name} is needed, and there is no secrets file; set {_SET}")
            try:
                self._secrets = SecretsFile(self._path)
            except InvalidSettings as error:
                raise NoIdentity("MissingSecret", f"the secret {name} is needed; {error.what}: {error.why}; {error.remedy}") from error
        return self._secrets

    def _tls(self, name: str, files: Mapping[str, Path]) -> ssl.SSLContext:
        if not files.keys() >= _FILES:
            why = f"the secret {name} names no certificate and key; write {name}: {{certificate: FILE, key: FILE, ca: FILE}} into the file"
            raise NoIdentity("MissingSecret", f"{why} that {_SET} names")
        try:
            stamp = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_ino) for file in files.values())
            known = self._contexts.get(name)
            if known is None or known[0] != stamp:
                known = self._contexts[name] = (stamp, _context(files))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            text = f"the certificate, key or ca of the secret {name} cannot be used: {_reason(error)}; correct the files"
            raise NoIdentity("InvalidSecret", text) from error
        return known[1]


def _bearer(name: str, tokens: tuple[str, ...]) -> Identity:
    if not tokens:
        raise NoIdentity("MissingSecret", f"there is no secret {name}; write {name}: TOKEN into the file that {_SET} names")
    if not _TOKEN.fullmatch(tokens[0]):
        text = f"the secret {name} is no bearer token: letters, digits and . _ ~ + / = - are allowed; correct it"
        raise NoIdentity("InvalidSecret", text)
    return Identity({"authorization": f"Bearer {tokens[0]}"}, token=tokens[0])


def _context(files: Mapping[str, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files["ca"]) if "ca" in files else None)
    context.load_cert_chain(files["certificate"], files["key"], password=lambda: "")  # a key with a password is refused, not asked for
    return context


def _reason(error: Exception) -> str:
    file = getattr(error, "filename", None)
    return f"{Path(file).name}: {getattr(error, 'strerror', '')}" if file else type(error).__name__ + f" {getattr(error, 'reason', '')}"
