"""Applications served by uvicorn on a free port of this machine, in a thread or in a process of their own."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import uvicorn
from fastapi import FastAPI

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0
START_S = 120.0  # a process imports for seconds where the machine is busy


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """What `condition` gives as soon as it is true; a failure that names `what` is waited for otherwise."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline_s:g} s for {what}")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered at all."""
    try:
        requests.get(url, timeout=2)
    except requests.RequestException:
        return False
    return True


@contextmanager
def running(app: FastAPI, port: int | None = None) -> Iterator[str]:
    """Serve `app` in a thread; gives its base URL."""
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "uvicorn")
        assert server.started
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


@contextmanager
def process(*arguments: str, port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python ARGUMENTS --port PORT` until it answers; kills it in the end."""
    command = [sys.executable, *arguments, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}) as child:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/health") or child.poll() is not None, f"port {port}", START_S)
            assert child.poll() is None, "the process ended early"
            yield child
        finally:
            child.kill()
