"""Ports: chosen once per state folder, remembered in `run/ports.json`, and replaced only when somebody else took one.

They are taken from below the range in which Linux gives ports to outgoing connections, so that none is lost between the choice and the
moment a JVM binds it.
"""

import json
import random
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from loopwright.errors import PlatformFailed

HOST = "127.0.0.1"
LOWEST, HIGHEST = 20_000, 32_000
_ATTEMPTS = 200


class Ports:
    """The ports of one state folder, by name. `preferred` is tried first for a name that has none yet.

    The file is the truth, read at each look: another command may have replaced a port since.
    """

    def __init__(self, file: Path, preferred: Mapping[str, int] | None = None) -> None:
        self._file = file
        self._preferred = dict(preferred or {})
        self._lock = threading.Lock()

    def known(self) -> dict[str, int]:
        """What is remembered."""
        return read_ports(self._file)

    def settle(self, name: str, in_use_by_us: bool) -> int:
        """The port for `name`: the remembered one if it is free or ours already, else a new one, which is remembered."""
        with self._lock:
            ports = self.known()
            known = ports.get(name, self._preferred.get(name))
            port = known if known is not None and (in_use_by_us or is_free(known)) else self._choose(set(ports.values()))
            if ports.get(name) != port:
                self._save({**ports, name: port})
            return port

    def _choose(self, taken: set[int]) -> int:
        for _ in range(_ATTEMPTS):
            port = random.randint(LOWEST, HIGHEST)  # noqa: S311  # not a secret
            if port not in taken and is_free(port):
                return port
        raise PlatformFailed(
            "no free port was found",
            f"{_ATTEMPTS} ports between {LOWEST} and {HIGHEST} are all in use",
            "stop what listens there (`ss -ltn` lists it), then try again",
        )

    def _save(self, ports: Mapping[str, int]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(ports, indent=2, sort_keys=True) + "\n")
        fresh.replace(self._file)


def read_ports(file: Path) -> dict[str, int]:
    """The remembered ports; empty where the file is missing or damaged."""
    try:
        found = json.loads(file.read_text())
        return {str(name): int(port) for name, port in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections on `port` of the loopback address."""
    try:
        with socket.create_connection((HOST, port), timeout=0.5):
            return True
    except OSError:
        return False
