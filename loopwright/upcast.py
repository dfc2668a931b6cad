"""Old schema versions become the present one when they are read, one version at a time."""

from collections.abc import Callable, Mapping
from typing import Any

from loopwright.json_strict import JsonRefused

CURRENT_VERSION = 1
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


def _from_unversioned(body: dict[str, Any]) -> dict[str, Any]:
    """Version 0: an envelope written by a plain CloudEvents client, without `schemaversion`; its `subject` may hold the workflow id."""
    upgraded = dict(body)
    if "workflowid" not in upgraded and isinstance(body.get("subject"), str):
        upgraded["workflowid"] = body["subject"]
    return upgraded


UPCASTERS: Mapping[int, Upcaster] = {0: _from_unversioned}


def upcast(body: dict[str, Any]) -> dict[str, Any]:
    """The envelope in the present version. Raises JsonRefused for a version that is not known."""
    version = body.get("schemaversion", 0)
    known = isinstance(version, int) and not isinstance(version, bool) and (version == CURRENT_VERSION or version in UPCASTERS)
    if not known:
        why = f"schemaversion {version!r:.40}; known are 0 to {CURRENT_VERSION}"
        raise JsonRefused("unknown-schema-version", why, "upgrade Loopwright, or write the record in a version it knows")
    if body.get("specversion") != "1.0":
        raise JsonRefused("wrong-type", f"specversion: {body.get('specversion')!r:.40} is not '1.0'", "send CloudEvents 1.0")
    while version < CURRENT_VERSION:
        body = UPCASTERS[version](body)
        version += 1
    return body
