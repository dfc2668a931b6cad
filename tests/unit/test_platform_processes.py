"""Which process listens: ours, or one that was quicker."""

import os
import socket
from pathlib import Path

import psutil

from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.processes import Started


def test_a_port_that_another_process_holds_is_not_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        here = Started("x", os.getpid(), psutil.Process().create_time(), (), "", {}, "")
        parent = psutil.Process(os.getppid())
        other = Started("y", parent.pid, parent.create_time(), (), "", {}, "")
        assert here.listens(port)
        assert not other.listens(port)
        assert not here.listens(port + 1 if port < 65535 else port - 1)


def test_a_port_that_another_command_replaced_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    mine, other = Ports(file), Ports(file)
    first = mine.settle("rest", False)
    with socket.create_server(("127.0.0.1", first)):
        second = other.settle("rest", False)
    assert second != first
    assert mine.known()["rest"] == second == mine.settle("rest", False)
