"""A schema registry over HTTP, with GUIDs as Confluent's has them: what the tests of the client's edge talk to."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson


@dataclass
class Registry:
    """What it holds, and how it behaves. `asked` are the requests, as method and path."""

    subjects: dict[str, list[int]] = field(default_factory=dict)
    schemas: list[tuple[str, str]] = field(default_factory=list)
    rules: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    authorization: set[str] = field(default_factory=set)
    guids: bool = True
    compatible: bool = True
    status: int = 0
    url: str = ""

    def answer(self, method: str, path: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        """Status and content."""
        if self.status:
            return self.status, {"error_code": self.status * 100, "message": "so it was told"}
        match method, path:
            case "GET", ["subjects"]:
                return 200, sorted(self.subjects)
            case "GET", ["schemas", "ids", number] if 0 < int(number) <= len(self.schemas):
                kind, text = self.schemas[int(number) - 1]
                return 200, {"schema": text, "schemaType": kind}
            case "POST", ["subjects", subject, "versions"]:
                return (200, {"id": self._id(subject, body)}) if self.compatible else (409, {"error_code": 409, "message": "incompatible"})
            case "POST", ["subjects", subject] if (known := self._known(body)) in self.subjects.get(subject, ()):
                return 200, self._told(subject, known)
            case "GET", ["subjects", subject, "versions"] if subject in self.subjects:
                return 200, list(range(1, len(self.subjects[subject]) + 1))
            case "GET", ["subjects", subject, "versions", number] if subject in self.subjects:
                return 200, self._told(subject, self.subjects[subject][int(number) - 1])
            case "PUT", ["config", subject]:
                self.rules[subject] = body["compatibility"]
                return 200, body
            case "POST", ["compatibility", "subjects", subject, "versions"] if subject in self.subjects:
                return 200, {"is_compatible": self.compatible}
        return 404, {"error_code": 40400, "message": "not found"}

    def _known(self, body: dict[str, Any]) -> int:
        schema = (body.get("schemaType", "AVRO"), body["schema"])
        return self.schemas.index(schema) + 1 if schema in self.schemas else 0

    def _id(self, subject: str, body: dict[str, Any]) -> int:
        if not self._known(body):
            self.schemas.append((body.get("schemaType", "AVRO"), body["schema"]))
        number = self._known(body)
        if number not in self.subjects.setdefault(subject, []):
            self.subjects[subject].append(number)
        return number

    def _told(self, subject: str, number: int) -> dict[str, Any]:
        kind, text = self.schemas[number - 1]
        version = self.subjects[subject].index(number) + 1
        guid = {"guid": str(uuid.uuid5(uuid.NAMESPACE_OID, text))} if self.guids else {}
        return {"subject": subject, "id": number, "version": version, "schema": text, "schemaType": kind, **guid}


@contextmanager
def served(registry: Registry, port: int = 0) -> Iterator[Registry]:
    """The registry on a port of this machine: a free one, or a given one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            length = int(self.headers.get("content-length") or 0)
            body = orjson.loads(self.rfile.read(length)) if length else {}
            registry.asked.append((self.command, "/".join(path)))
            registry.authorization.add(self.headers.get("authorization") or "")
            status, content = registry.answer(self.command, path, body)
            raw = orjson.dumps(content)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registry.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield registry
        finally:
            server.shutdown()
