"""A process that a peer runs beside itself: started with its output in a file, waited for, and stopped with the peer."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 10.0
SHOWN_OF_LOG = 2000
AGAIN_S = 0.05


class ServerProcess:
    """One child process whose standard output and error go to `log`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(
        self,
        command: Sequence[str],
        ready: int | Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        within_s: float = STARTS_WITHIN_S,
    ) -> None:
        """Start `command` and return once it is ready: something listens at that port, or that function says so.

        Raises RuntimeError with the end of its log.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment or os.environ)
            )
        try:
            async with asyncio.timeout(within_s):
                while not (await _listens(ready) if isinstance(ready, int) else ready()):
                    if self._process.returncode is not None:
                        raise RuntimeError(f"{command[0]} ended with {self._process.returncode}: {self._end_of_log()}")
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError:
            raise RuntimeError(f"{command[0]} was not ready after {within_s:.0f} s: {self._end_of_log()}") from None

    async def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOPS_WITHIN_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    def _end_of_log(self) -> str:
        return self._log.read_text(errors="replace")[-SHOWN_OF_LOG:].strip()


def free_ports(count: int) -> list[int]:
    """So many different ports of the loopback address that nothing listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
