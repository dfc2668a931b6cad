"""The pages: plain HTML that works without JavaScript, with headers that let nothing foreign in."""

import uuid
from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse, Response

from loopwright.errors import LoopwrightError
from loopwright.web.form import FIELDS, SOURCES

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Pages:
    """The rendered pages."""

    def __init__(self) -> None:
        self._templates = Environment(loader=PackageLoader("loopwright.web"), autoescape=True, trim_blocks=True, lstrip_blocks=True)

    def form(self, typed: Mapping[str, str], complaints: Mapping[str, str], failure: LoopwrightError | None = None) -> Response:
        """The lead form: empty, or with what was typed and what is wrong with it."""
        shown = {"fields": FIELDS, "sources": SOURCES, "typed": typed, "complaints": complaints, "failure": failure}
        form_id = typed.get("form_id") or uuid.uuid4().hex[:20]
        status = 503 if failure else 422 if complaints else 200
        return self._page("form.html", status, form_id=form_id, **shown)

    def workflow(self, workflow: str) -> Response:
        """The page that says how to follow a workflow."""
        return self._page("workflow.html", 200, workflow=workflow)

    def style(self) -> Response:
        """The style sheet."""
        sheet = files("loopwright.web").joinpath("templates/style.css").read_bytes()
        return Response(sheet, media_type="text/css", headers={**HEADERS, "cache-control": "max-age=300"})

    def _page(self, template: str, status: int, **values: object) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**values), status, HEADERS)
