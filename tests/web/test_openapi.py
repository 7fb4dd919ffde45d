import json

from msgspec import Struct
from prometheus_client import CollectorRegistry
from twisted.internet import reactor

from stor.web.answer import Answer
from stor.web.health import Health
from stor.web.metrics import Metrics
from stor.web.openapi import OpenApi
from stor.web.routes import About, Media, Parameter, Route
from tests.web.serving import Serving


class Thing(Struct):
    """What is kept."""

    name: str
    size: int = 0


ABOUT = About(
    "Change a thing",
    parameters=[Parameter("If-Match", "header", "Which one", required=True), Parameter("dry", "query", "Do not")],
    body=Media("The thing", schema=Thing),
    answers={200: Media("All of them", schema=list[Thing]), 404: "No such thing", 206: Media("Bytes", "text/plain")},
)


class Part:
    def routes(self):
        yield Route("PUT", "/things/<path:name>", self.answer, "things:write", about=ABOUT)
        yield Route("GET", "/things/<path:name>", self.answer)
        yield Route("GET", "/pages/<int(min=1):number>/<word>", self.answer)

    async def answer(self, call, **segments):
        return Answer()


class DocumentTests(Serving):
    def parts(self):
        parts = [Part(), Health("1.2.3", reactor), Metrics(CollectorRegistry(), "1.2.3")]
        self.all = [*parts, OpenApi(parts, "1.2.3")]
        return self.all

    async def document(self):
        response = await self.client.get(self.url("/openapi.json"))
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["application/json"])
        return json.loads(await response.content())

    async def test_complete(self):
        """Each route that the site answers is described, and nothing else is."""
        said = (await self.document())["paths"]
        described = {(method.upper(), path) for path, methods in said.items() for method in methods}
        served = set()
        for part in self.all:
            for route in part.routes():
                path = route.rule.replace("<path:name>", "{name}").replace("<word>", "{word}")
                served.add((route.method, path.replace("<int(min=1):number>", "{number}")))
        self.assertEqual(described, served)

    async def test_operation(self):
        """An operation says what it takes, what it gives, and who may."""
        found = (await self.document())["paths"]["/things/{name}"]
        put = found["put"]
        self.assertEqual(put["summary"], "Change a thing")
        self.assertEqual(
            [(p["name"], p["in"], p["required"]) for p in put["parameters"]],
            [("name", "path", True), ("If-Match", "header", True), ("dry", "query", False)],
        )
        self.assertEqual(set(put["responses"]), {"200", "206", "404", "401", "403"})
        self.assertEqual(put["responses"]["206"]["content"], {"text/plain": {"schema": {}}})
        self.assertIn("things:write", put["description"])
        self.assertEqual(put["security"], [{"key": []}, {"bearer": []}])
        self.assertNotIn("security", found["get"])

    async def test_segments(self):
        """Segments have their types."""
        found = (await self.document())["paths"]["/pages/{number}/{word}"]["get"]["parameters"]
        self.assertEqual([p["schema"] for p in found], [{"type": "integer"}, {"type": "string"}])

    async def test_shapes(self):
        """Shapes stand once, and each reference leads to one."""
        said = await self.document()
        text = json.dumps(said["paths"])
        self.assertEqual(set(said["components"]["schemas"]), {"Thing"})
        self.assertEqual(text.count('"$ref": "#/components/schemas/Thing"'), 2)
        self.assertEqual(said["openapi"], "3.1.0")
