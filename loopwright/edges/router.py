"""Performs what the router asks for: a question to the model, or the similarity of texts. Every outcome, failures too, is JSON."""

import time
from typing import Any
from urllib.parse import urlsplit

import orjson

from loopwright.edges.circuits import CircuitOpen, Circuits, model_fault, policy_of
from loopwright.edges.embedding import Embedder, embedding_model
from loopwright.edges.model import ModelClient, ModelFailed
from loopwright.edges.outcome import said, since_ms
from loopwright.errors import LoopwrightError
from loopwright.settings import Settings
from loopwright.step import Call

MAX_TOKENS = 300


class RoutePerformer:
    """Implements `loopwright.step.Performer` for two kinds of payload.

    {"kind": "model", "messages": [{role, content}], "schema": {JSON Schema}, "name": "next_agent", "max_tokens": 300}
        -> {"ok": true, "kind", "content", "model", "tokens": {"prompt", "completion"}, "duration_ms"}
    {"kind": "embedding", "query": text, "passages": {name: text}}
        -> {"ok": true, "kind", "scores": {name: similarity}, "model", "duration_ms"}
    either -> {"ok": false, "kind", "error": {"class", "message", "retryable", "retry_after_ms"}, "duration_ms"}

    A model that keeps failing is not asked for a while: the error is then of class CircuitOpen and has "held": true, as has that of a call
    which failed while the circuit is open. The outcome that opened it has "circuit_opened": true. The circuit opens after as many failures
    as one question has attempts, at the latest.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model = ModelClient(settings)
        self._circuits = Circuits(policy_of(settings.circuit, settings.llm_attempts))
        self._embedder = Embedder()
        self._endpoint = f"the model at {urlsplit(settings.llm_base_url).netloc}"

    async def open(self) -> None:
        """Nothing to do: the clients are made by the first call, whose outcome tells what is wrong with their settings."""

    async def perform(self, call: Call) -> bytes:
        """Do one call and return its outcome as JSON. Never raises, but for a cancellation."""
        started, kind = time.monotonic(), None
        try:
            payload = orjson.loads(call.payload)
            kind = payload["kind"]
            outcome = await (self._through(payload) if kind == "model" else self._embed(payload))
        except CircuitOpen as answer:
            why = f"it is not asked for a while: {answer.refused.why}"
            outcome = _failed("CircuitOpen", why, retryable=True, after_ms=answer.refused.wait_ms, held=True)
        except LoopwrightError as error:
            outcome = _failed(type(error).__name__, f"{error.what}: {error.why}")
        except Exception as error:
            outcome = _failed("Internal", f"{type(error).__name__}: {error}")
        return orjson.dumps({**outcome, "kind": kind, "duration_ms": since_ms(started)})

    async def close(self) -> None:
        """Close the connections."""
        await self._model.close()

    async def _through(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask if the circuit lets the question through, and tell the circuit how it went."""
        with self._circuits.call(self._endpoint) as attempt:
            try:
                outcome = await self._ask(payload)
            except ModelFailed as failed:
                attempt.fault = model_fault(failed.kind, failed.why, failed.retry_after_ms, self._settings.circuit)
                outcome = _failed(failed.kind, failed.why, failed.retryable, failed.retry_after_ms)
        if attempt.wait_ms:
            outcome["error"] |= {"held": True, "retry_after_ms": attempt.wait_ms}
        return {**outcome, "circuit_opened": True} if attempt.opened else outcome

    async def _ask(self, payload: dict[str, Any]) -> dict[str, Any]:
        tokens = int(payload.get("max_tokens", MAX_TOKENS))
        answer = await self._model.complete(payload["messages"], payload["schema"], payload.get("name", "answer"), tokens)
        counted = {"prompt": answer.prompt_tokens, "completion": answer.completion_tokens}
        return {"ok": True, "content": answer.content, "model": answer.model, "tokens": counted}

    async def _embed(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "scores": await self._embedder.scores(payload["query"], payload["passages"]), "model": embedding_model()}


def _failed(kind: str, message: str, retryable: bool = False, after_ms: int | None = None, held: bool = False) -> dict[str, Any]:
    error: dict[str, Any] = {"class": kind, "message": said(message), "retryable": retryable, "retry_after_ms": after_ms}
    return {"ok": False, "error": error | {"held": True} if held else error}
