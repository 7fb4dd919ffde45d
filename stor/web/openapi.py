"""`/openapi.json`: what the routes say of themselves, as OpenAPI 3.1."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import json

from stor.web.answer import JSON_HEADERS, Answer
from stor.web.call import Call
from stor.web.routes import About, Media, Part, Route

PATH = "/openapi.json"
SECURITY = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_SEGMENT = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")
_KINDS = {"int": {"type": "integer"}, "float": {"type": "number"}, "uuid": {"type": "string", "format": "uuid"}}
_REFERENCE = "#/components/schemas/{name}"


class OpenApi:
    """A part that describes all parts, itself too."""

    def __init__(self, parts: Iterable[Part], version: str) -> None:
        routes = [route for part in (*parts, self) for route in part.routes()]
        self.document = document(routes, version)
        self._body = json.encode(self.document)

    def routes(self) -> Iterable[Route]:
        """Offer one page."""
        return [Route("GET", PATH, self.show, about=About("This description", answers={200: Media("OpenAPI 3.1")}))]

    async def show(self, call: Call) -> Answer:
        """Give the document, made once."""
        return Answer(headers=JSON_HEADERS, body=self._body)


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Describe `routes`."""
    shapes = [media.schema for route in routes for media in _media(route) if media.schema is not None]
    schemas, components = json.schema_components(shapes, ref_template=_REFERENCE)
    known = dict(zip(map(id, shapes), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _SEGMENT.sub(r"{\2}", route.rule)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "stor", "version": version},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SECURITY},
    }


def _media(route: Route) -> Iterable[Media]:
    about = route.about or About(route.rule)
    yield from (() if about.body is None else (about.body,))
    yield from (answer for answer in about.answers.values() if isinstance(answer, Media))


def _operation(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    about = route.about or About(f"{route.method} {route.rule}")
    answers = {str(status): _answer(said, schemas) for status, said in about.answers.items()}
    if route.permission is not None:
        answers |= {
            "401": {"description": "No credential, or a wrong one"},
            "403": {"description": "Not with this one"},
        }
    found: dict[str, Any] = {"summary": about.summary, "parameters": _parameters(route, about), "responses": answers}
    if route.permission is not None:
        found["description"] = f"Needs the permission `{route.permission}`."
        found["security"] = [{name: []} for name in SECURITY]
    if about.body is not None:
        found["requestBody"] = _answer(about.body, schemas)
    return found


def _parameters(route: Route, about: About) -> list[dict[str, Any]]:
    segments: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _KINDS.get(kind, {"type": "string"})}
        for kind, name in _SEGMENT.findall(route.rule)
    ]
    others = [
        {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required,
            "description": parameter.about,
            "schema": {"type": "string"},
        }
        for parameter in about.parameters
    ]
    return segments + others


def _answer(said: str | Media, schemas: dict[int, Any]) -> dict[str, Any]:
    if isinstance(said, str):
        return {"description": said}
    schema = schemas[id(said.schema)] if said.schema is not None else {}
    return {"description": said.about, "content": {said.type: {"schema": schema}}}
