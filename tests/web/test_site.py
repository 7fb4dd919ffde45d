import json

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed

from stor import errors
from stor.access.address import Trusted
from stor.web.answer import Answer
from stor.web.answers import STATUS, status_of
from stor.web.dispatch import Routes
from stor.web.routes import Route
from tests.web.serving import Serving


class Breaking:
    """A stream that cannot be had to its end."""

    length = 100

    def __init__(self):
        self.pieces = [b"half of it"]

    async def read(self):
        if not self.pieces:
            raise RuntimeError("secret detail")
        return self.pieces.pop()

    def close(self):
        pass


class Part:
    def __init__(self):
        self.entered, self.left = Deferred(), Deferred()

    def routes(self):
        return [
            Route("GET", "/things/<name>", self.thing),
            Route("PUT", "/things/<name>", self.put),
            Route("GET", "/raise/<kind>", self.complain),
            Route("GET", "/break", self.break_off),
            Route("GET", "/wait", self.wait),
            Route("GET", "/who", self.who),
            Route("GET", "/me", self.who, permission="see"),
        ]

    async def thing(self, call, name):
        return Answer(body=name.encode())

    async def put(self, call, name):
        return Answer(body=call.content + name.encode())

    async def complain(self, call, kind):
        if kind == "coded":
            raise errors.Failed("what happened", code="BROKEN")
        more = {"TooMany": (0.2,), "Unavailable": (0.2,), "NotSatisfiable": (7,)}.get(kind, ())
        raise getattr(errors, kind)("what happened", *more)

    async def break_off(self, call):
        return Answer(body=Breaking())

    async def wait(self, call):
        self.entered.callback(None)
        try:
            await Deferred()
        finally:
            self.left.callback(None)

    async def who(self, call):
        return Answer(body=call.remote.encode())


class Site(Serving):
    def parts(self):
        self.part = Part()
        return [self.part]

    async def get(self, path, method="GET", **more):
        response = await self.client.request(method, self.url(path), **more)
        return response, await response.content()

    async def error(self, path, method="GET", **more):
        response, body = await self.get(path, method, **more)
        said = json.loads(body)
        self.assertEqual(set(said), {"error", "detail", "request_id"})
        self.assertEqual([said["request_id"]], response.headers.getRawHeaders("x-request-id"))
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["application/json"])
        return response, said


class AnswerTests(Site):
    async def test_table(self):
        """Each of our errors has its status, its name and its message, but for what failed: that is for the log."""
        for kind, status in STATUS.items():
            response, said = await self.error(f"/raise/{kind.__name__}")
            self.assertEqual((response.code, response.phrase), (status, status.phrase.encode()))
            detail = "" if issubclass(kind, errors.Failed) else "what happened"
            self.assertEqual((said["error"], said["detail"]), (kind.__name__, detail))

    async def test_failed(self):
        """What failed is told to the log with the id that the answer has; with a code it is for callers, too."""
        with capturedLogs() as logged:
            _, said = await self.error("/raise/Failed", headers={"X-Request-Id": "r-500"})
            _, coded = await self.error("/raise/coded")
        self.assertEqual((said["detail"], said["request_id"]), ("", "r-500"))
        self.assertEqual(coded["detail"], "what happened")
        (first, _) = [event for event in logged if event.get("why") == "what happened"]
        self.assertEqual((first["kind"], first["request_id"]), ("Failed", "r-500"))
        self.assertIn("what happened", formatEvent(first))

    async def test_hints(self):
        """A refusal says what would help: which credential, and how many whole seconds to wait."""
        response, _ = await self.error("/raise/Denied")
        self.assertEqual(response.headers.getRawHeaders("www-authenticate"), ["Bearer"])
        for kind in ("TooMany", "Unavailable"):
            response, _ = await self.error(f"/raise/{kind}")
            self.assertEqual(response.headers.getRawHeaders("retry-after"), ["1"])

    async def test_unexpected(self):
        """What is nobody's mistake but ours is a 500 without detail; the log has it, with the same id."""
        for kind in ("ConfigError", "StorError"):
            response, said = await self.error(f"/raise/{kind}")
            self.assertEqual((response.code, said["error"], said["detail"]), (500, "Failed", ""))
        self.assertEqual(len(self.flushLoggedErrors(errors.StorError)), 2)

    async def test_unknown(self):
        """No such path, no such method on it: said in these words, with what would be allowed."""
        response, body = await self.get("/things/x", "DELETE")
        self.assertEqual((response.code, json.loads(body)), (405, {"detail": "Method Not Allowed"}))
        self.assertEqual(response.headers.getRawHeaders("allow"), ["GET, HEAD, PUT"])
        for path in ("/nothing?secret=1", "//things/x", "/things//x", "/things/x/", "/things"):
            response, body = await self.get(path)
            self.assertEqual((response.code, json.loads(body)), (404, {"detail": "Not Found"}), path)

    async def test_too_late(self):
        """An error after the answer began ends the connection: a short answer must not look whole."""
        await self.assertFailure(Deferred.fromCoroutine(self.get("/break")), ResponseFailed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_head(self):
        """HEAD is GET without the body, wherever GET is."""
        response, body = await self.get("/things/x", "HEAD")
        self.assertEqual((response.code, body), (200, b""))

    async def test_segments(self):
        """A path segment arrives decoded."""
        _, body = await self.get("/things/%C3%A4%20b")
        self.assertEqual(body, "ä b".encode())


class RequestIdTests(Site):
    async def test_kept(self):
        """A well-formed id is taken over, anything else is replaced by one of ours."""
        for given, kept in (
            ("a-B_9.z", True),
            ("x" * 64, True),
            ("x" * 65, False),
            ("a b", False),
            ("ä", False),
        ):
            response, _ = await self.get("/things/x", headers={"X-Request-Id": given})
            (said,) = response.headers.getRawHeaders("x-request-id")
            self.assertEqual(said == given, kept, given)
            self.assertRegex(said, r"\A[A-Za-z0-9._-]{1,64}\Z")

    async def test_each_its_own(self):
        """Two requests have two ids."""
        ids = {(await self.get("/things/x"))[0].headers.getRawHeaders("x-request-id")[0] for _ in range(2)}
        self.assertEqual(len(ids), 2)


class LogTests(Site):
    async def test_line(self):
        """One line an answer, with what one needs to find it, and without the query."""
        secret = {"Authorization": "Bearer hunter2", "X-Api-Key": "somebody/see"}
        await self.get("/me?password=hunter2", headers={"X-Request-Id": "r1", **secret})
        (event,) = self.events
        expected = {
            "method": "GET",
            "path": "/me",
            "status": 200,
            "bytes": 9,
            "remote": "127.0.0.1",
            "request_id": "r1",
            "principal": "somebody",
        }
        self.assertEqual({name: event[name] for name in expected}, expected)
        self.assertTrue(0 <= event["duration"] < 5)
        self.assertNotIn("hunter2", str(event))

    async def test_long_path(self):
        """A path of any length takes a bounded part of the line."""
        await self.get("/" + "a" * 5000)
        self.assertLessEqual(len(self.events[0]["path"]), 512)

    async def test_client_left(self):
        """Who does not wait ends the handler; the line says 499, and nothing else is logged."""
        raw = await self.connect()
        raw.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        await self.part.entered
        raw.transport.abortConnection()
        await self.part.left
        await deferLater(reactor, 0)
        self.assertEqual([(event["path"], event["status"]) for event in self.events], [("/wait", 499)])

    async def test_measured(self):
        """Answers are measured by rule, method and class; no client can invent a label."""
        await self.get("/things/a")
        await self.get("/things/b")
        for path in ("/x", "/y"):
            await self.get(path, "BREW")
        name = "stor_http_request_seconds_count"
        self.assertEqual(self.sample(name, route="/things/<name>", method="GET", status="2xx"), 2)
        self.assertEqual(self.sample(name, route="none", method="other", status="4xx"), 2)

    async def test_stranger(self):
        """From a peer that is not trusted, X-Forwarded-For means nothing."""
        _, body = await self.get("/who", headers={"X-Forwarded-For": "192.0.2.1"})
        self.assertEqual(body, b"127.0.0.1")


class BehindProxyTests(Site):
    trusted = Trusted(["127.0.0.0/8"])

    async def test_forwarded(self):
        """From a trusted peer it names the client, over several header lines too."""
        _, body = await self.get("/who", headers={"X-Forwarded-For": ["9.9.9.9", "192.0.2.1, 127.0.0.2"]})
        self.assertEqual(body, b"192.0.2.1")
        self.assertEqual(self.events[0]["remote"], "192.0.2.1")


class RoutesTests(SynchronousTestCase):
    def test_one_owner(self):
        """Two parts cannot have the same route: the second would never be called."""
        self.assertRaises(ValueError, Routes, [*Part().routes(), *Part().routes()])

    def test_subclasses(self):
        """A more special error has the status of its kind; a stranger has 500."""

        class Odd(errors.Conflict):
            pass

        self.assertEqual((status_of(Odd()), status_of(KeyError())), (409, 500))
