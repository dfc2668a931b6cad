"""Sensitive values sealed: AES-256-GCM with keys by id, bound to the workflow and the field that a value stands in. Pure.

A sealed value is one JSON value that says how it was made, and that anybody may carry about:

    {"$encrypted": {"v": 1, "kid": "2026-11", "alg": "A256GCM", "nonce": base64, "data": base64 of ciphertext and tag}}

The same value in the same field of the same workflow gives the same sealed value. An agent that is called again, or a start that is sent
again, must not look like another answer or another start (see `loopwright.workflow.fold`), and chance has no place in what is folded. So
the nonce is a keyed hash of the value, and each (key, workflow, field) has an encryption key and a nonce key of its own, derived with
HKDF. What an onlooker learns is the value's length, and that a field of a workflow holds the same value as before.

Sources: NIST SP 800-38D (GCM), RFC 5869 (HKDF), Rogaway and Shrimpton, "Deterministic Authenticated-Encryption" (2006; synthetic IV).
"""

import base64
import hmac
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from loopwright.errors import InvalidDocument, InvalidSettings, KeyMissing, SealBroken
from loopwright.masking import MASK

SEALED = "$encrypted"
ALGORITHM = "A256GCM"
VERSION = 1
KEY_BYTES = 32
_PARTS = frozenset({"v", "kid", "alg", "nonce", "data"})
KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
REMEDY = "make keys with `loopwright keys new FILE`, and set LOOPWRIGHT_KEYS_FILE to that file wherever Loopwright runs"


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys by their ids: 32 bytes each. `active` names the one that new values are sealed with; all of them open what they sealed."""

    active: str
    keys: Mapping[str, bytes] = field(repr=False)

    def get(self, kid: str) -> bytes:
        """The key `kid`. Raises KeyMissing."""
        if kid not in self.keys:
            why = f"it was sealed with the key {kid!r:.80}; here are {', '.join(sorted(self.keys))}"
            raise KeyMissing("an encrypted value cannot be read", why, "add that key to the file of LOOPWRIGHT_KEYS_FILE")
        return self.keys[kid]


def keys_in(content: object) -> Keys:
    """The keys that a key file's content names. Raises InvalidSettings, which never shows a key."""
    if not isinstance(content, Mapping) or not isinstance(content.get("keys"), Mapping) or not content["keys"]:
        raise _unusable("it is no mapping with `active` and `keys`")
    unknown = sorted(set(map(str, content)) - {"active", "keys"})
    if unknown:
        raise _unusable(f"it has fields that are not known: {', '.join(unknown)[:80]}")
    keys = {str(kid): _key(str(kid), text) for kid, text in content["keys"].items()}
    active = content.get("active")
    if active not in keys:
        raise _unusable(f"active: {active!r:.80} is none of its keys ({', '.join(keys)})")
    return Keys(str(active), keys)


def _key(kid: str, text: object) -> bytes:
    if not KEY_ID.fullmatch(kid):
        raise _unusable(f"a key's id is {kid!r:.80}; use letters, digits, dots, hyphens and underscores, 64 at most")
    try:
        key = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise _unusable(f"the key {kid} is not base64 of {KEY_BYTES} bytes")
    return key


def _unusable(why: str) -> InvalidSettings:
    return InvalidSettings("the keys cannot be used", why, "correct the file, or make one with `loopwright keys new FILE`")


def is_sealed(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether `value` says that it is sealed. Whether it can be opened is another question."""
    return isinstance(value, dict) and len(value) == 1 and SEALED in value


def any_sealed(document: Mapping[str, Any]) -> bool:
    """Whether a field of `document` is sealed."""
    for value in document.values():  # noqa: SIM110  # any(...) takes twice as long, and this is asked some ten times a hop
        if isinstance(value, dict) and is_sealed(value):
            return True
    return False


def _bound(kid: str, workflow: str, name: str) -> bytes:
    """What a sealed value is bound to. A JSON list, so that no two places read the same."""
    return orjson.dumps(["loopwright/sealing", VERSION, ALGORITHM, kid, workflow, name])


def _derived(key: bytes, bound: bytes) -> tuple[AESGCM, bytes]:
    """The cipher and the nonce key of one place."""
    material = HKDFExpand(SHA256(), 2 * KEY_BYTES, bound).derive(key)
    return AESGCM(material[:KEY_BYTES]), material[KEY_BYTES:]


def seal_value(value: Any, workflow: str, name: str, keys: Keys) -> dict[str, Any]:
    """`value` sealed for the field `name` of a workflow, with the active key. Raises InvalidDocument for what is not JSON."""
    try:
        plain, bound = orjson.dumps(value, option=orjson.OPT_SORT_KEYS), _bound(keys.active, workflow, name)
    except TypeError as error:
        remedy = "send large numbers as strings, and text as UTF-8"
        raise InvalidDocument("a sensitive field cannot be sent as JSON", f"the field {name!r:.80}: {error}", remedy) from None
    cipher, nonce_key = _derived(keys.get(keys.active), bound)
    nonce = hmac.digest(nonce_key, plain, "sha256")[:12]
    made = {"v": VERSION, "kid": keys.active, "alg": ALGORITHM, "nonce": _text(nonce), "data": _text(cipher.encrypt(nonce, plain, bound))}
    return {SEALED: made}


def open_value(value: Mapping[str, Any], workflow: str, name: str, keys: Keys) -> Any:
    """What is in a sealed value. Raises KeyMissing, or SealBroken where it was changed or belongs to another workflow or field."""
    made = value[SEALED]
    if not isinstance(made, Mapping) or made.keys() != _PARTS or (made["v"], made["alg"]) != (VERSION, ALGORITHM):
        raise _broken(name, "it is of a form, version or algorithm that is not known here")
    bound = _bound(str(made["kid"]), workflow, name)
    cipher, _ = _derived(keys.get(str(made["kid"])), bound)
    try:
        plain = cipher.decrypt(_bytes(made["nonce"]), _bytes(made["data"]), bound)
        return orjson.loads(plain)
    except (InvalidTag, ValueError, TypeError):
        raise _broken(name, "it was changed, or made for another workflow or field") from None


def _broken(name: str, why: str) -> SealBroken:
    return SealBroken("an encrypted value cannot be opened", f"the field {name!r:.80}: {why}", "send the value again, from its source")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: object) -> bytes:
    raw = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    if _text(raw) != text:
        raise ValueError("not the one way to write these bytes")
    return raw


def seal(document: Mapping[str, Any], fields: Collection[str], keys: Keys | None, workflow: str) -> dict[str, Any]:
    """`document` with each of its `fields` sealed for `workflow`. A null stays: it says that there is no value.

    What is sealed already must be whole, and stays as it is. Raises InvalidSettings where there is something to seal and
    `keys` is None, KeyMissing and SealBroken for a sealed value that cannot be opened, InvalidDocument for what is not JSON.
    """
    made = dict(document)
    for name, value in document.items():
        if is_sealed(value):
            if keys is not None:
                open_value(value, workflow, name, keys)
        elif name in fields and value is not None:
            made[name] = seal_value(value, workflow, name, keys_for(keys, name))
    return made


def unseal(document: Mapping[str, Any], keys: Keys | None, workflow: str) -> dict[str, Any]:
    """`document` with each sealed field opened. Raises InvalidSettings where `keys` is None and needed, KeyMissing, SealBroken."""
    return {
        name: open_value(value, workflow, name, keys_for(keys, name)) if is_sealed(value) else value for name, value in document.items()
    }


def keys_for(keys: Keys | None, name: str) -> Keys:
    """`keys`, which are needed for the field `name`. Raises InvalidSettings for None."""
    if keys is None:
        raise InvalidSettings(
            "there are no keys", f"the field {name!r:.80} is marked x-sensitive, and LOOPWRIGHT_KEYS_FILE is not set", REMEDY
        )
    return keys


def hidden(value: Any) -> Any:
    """`value` with `***` for every sealed value in it, at any depth: how it is shown."""
    return _walked(value, "", lambda _sealed, _name: MASK)


def revealed(value: Any, workflow: str, keys: Keys) -> Any:
    """`value` with every sealed value in it opened; `***` for one that cannot be. The name of the field is that of the nearest key."""

    def shown(sealed: dict[str, Any], name: str) -> Any:
        try:
            return open_value(sealed, workflow, name, keys)
        except (KeyMissing, SealBroken):
            return MASK

    return _walked(value, "", shown)


def _walked(value: Any, name: str, shown: Callable[[dict[str, Any], str], Any]) -> Any:
    if is_sealed(value):
        return shown(value, name)
    if isinstance(value, dict):
        return {key: _walked(item, str(key), shown) for key, item in value.items()}
    return [_walked(item, name, shown) for item in value] if isinstance(value, list) else value
