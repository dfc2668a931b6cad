"""The servers that the benchmark's peers run beside themselves."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from bench.peers.server_process import HOST, ServerProcess, free_ports


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_a_server_is_ready_once_it_listens_and_is_gone_after_stop(tmp_path: Path) -> None:
    [port] = free_ports(1)

    async def course() -> bool:
        server = ServerProcess(tmp_path / "log")
        try:
            await server.start([sys.executable, "-m", "http.server", str(port), "--bind", HOST], port)
            return _listens(port)
        finally:
            await server.stop()

    assert asyncio.run(course())
    assert not _listens(port)


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: no such luck"):
        asyncio.run(ServerProcess(tmp_path / "log").start([sys.executable, "-c", "print('no such luck'); exit(3)"], free_ports(1)[0]))


def test_a_server_that_never_gets_ready_is_reported_in_time(tmp_path: Path) -> None:
    async def course() -> None:
        server = ServerProcess(tmp_path / "log")
        try:
            await server.start([sys.executable, "-c", "import time; time.sleep(60)"], lambda: False, within_s=0.2)
        finally:
            await server.stop()

    with pytest.raises(RuntimeError, match="was not ready after"):
        asyncio.run(course())


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20
