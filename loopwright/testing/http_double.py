"""The ground the doubles stand on: an HTTP/1.1 server in a thread, on a free port, that can also misbehave below HTTP.

Made of the standard library, since a double has to do what a web framework rightly prevents: drip bytes, lie about a length, reset a
connection after the work was done.
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in: header names in lower case, `at` a reading of time.monotonic() in seconds."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The body as JSON. Raises ValueError where it is none."""
        return json.loads(self.body)


class Exchange:
    """One request, and the means to answer it, well or badly. A behaviour is a function of an Exchange."""

    def __init__(self, handler: BaseHTTPRequestHandler, request: Received, stopping: threading.Event) -> None:
        self._handler = handler
        self._stopping = stopping
        self.request = request

    def reply(self, status: int, body: bytes | str | dict[str, Any] | list[Any], headers: Mapping[str, str] | None = None) -> None:
        """Answer with a status and a body; a dict or list goes out as JSON."""
        raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        kind = "text/plain" if isinstance(body, (str, bytes)) else "application/json"
        self.head(status, {"Content-Type": kind, "Content-Length": str(len(raw)), **(headers or {})})
        self.write(raw)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and the headers alone. Without a Content-Length the connection ends with the body."""
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers):
            self._handler.send_header("Connection", "close")
            self._handler.close_connection = True
        self._handler.end_headers()

    def write(self, raw: bytes) -> None:
        """Send bytes of the body."""
        self._handler.wfile.write(raw)

    def wait(self, seconds: float) -> bool:
        """Do nothing for a while; True when the server is being stopped meanwhile."""
        return self._stopping.wait(seconds)

    def reset(self) -> None:
        """End the connection with a TCP reset, answering nothing more."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.close_connection = True
        self._handler.connection.close()


class HttpDouble:
    """A server that records every request and answers as `handle` says. A context manager: it starts on entry and is gone after exit."""

    def __init__(self, handle: Callable[[Exchange], None], port: int = 0, host: str = "127.0.0.1") -> None:
        """Listen on `port`; 0 takes a free one."""
        self.requests: list[Received] = []
        self._handle = handle
        self._address = (host, port)
        self._arrived = threading.Condition()
        self._stopping = threading.Event()
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._started().server_address[1])

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{self._address[0]}:{self.port}"

    def start(self) -> Self:
        """Begin to listen. Raises OSError where the port is taken."""
        self._stopping.clear()
        self._server = _Server(self._address, self._answer)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name=type(self).__name__, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening, and end the connections that are open."""
        self._stopping.set()
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()
            server.drop_connections()

    def wait_for(self, requests: int, deadline_s: float = 10.0) -> list[Received]:
        """Wait until so many requests have come in, and return all. Raises TimeoutError after `deadline_s` seconds."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= requests, deadline_s):
                raise TimeoutError(f"{len(self.requests)} of {requests} requests came within {deadline_s:g} s")
            return list(self.requests)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _started(self) -> "_Server":
        if self._server is None:
            raise RuntimeError(f"{type(self).__name__} is not started: use it in a with statement, or call start()")
        return self._server

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Received(handler.command, handler.path, headers, handler.rfile.read(size), time.monotonic())
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        self._handle(Exchange(handler, request, self._stopping))


class _Server(ThreadingHTTPServer):
    """Threads that do not keep the process alive, a long queue, and sockets that can be dropped."""

    daemon_threads = True
    request_queue_size = 1024
    block_on_close = False

    def __init__(self, address: tuple[str, int], answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self._open: set[Any] = set()
        super().__init__(address, _handler(answer))

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def drop_connections(self) -> None:
        """End what is still open."""
        for request in list(self._open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is closed already


def _handler(answer: Callable[[BaseHTTPRequestHandler], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            """Requests are recorded, not logged."""

        def do_POST(self) -> None:
            answer(self)

        def do_GET(self) -> None:
            answer(self)

    return Handler
