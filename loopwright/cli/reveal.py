"""How encrypted values are shown: as `***`, or opened with the keys at hand where somebody asks for that."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from loopwright.edges.keyring import Keyring
from loopwright.history.view import WorkflowView
from loopwright.sealing import hidden, keys_for, revealed
from loopwright.settings import Settings

Shown = Callable[[Any, str], Any]


def shown_by(settings: Settings, reveal: bool) -> Shown:
    """What makes a value of a workflow fit to be shown. Raises InvalidSettings where values are to be revealed and there are no keys."""
    if not reveal:
        return lambda value, _workflow: hidden(value)
    keys = keys_for(Keyring(settings.keys_file).keys(), "--reveal")
    return lambda value, workflow: revealed(value, workflow, keys)


def shown_view(view: WorkflowView, shown: Shown) -> WorkflowView:
    """The view with its document and its steps fit to be shown."""
    steps = tuple(replace(step, detail=shown(step.detail, view.workflow)) for step in view.steps)
    return replace(view, document=shown(view.document, view.workflow), steps=steps)


def shown_text(text: str, workflow: str, shown: Shown) -> str:
    """A record's text as it stood, but for the encrypted values in it. What is no JSON holds none."""
    try:
        body = orjson.loads(text)
        made = shown(body, workflow)
    except (ValueError, RecursionError):
        return text
    return text if made == body else orjson.dumps(made).decode()
