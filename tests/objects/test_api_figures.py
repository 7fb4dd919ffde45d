"""What is counted of the object store's answers."""

from prometheus_client import CollectorRegistry, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from stor.objects.api.figures import Requests
from stor.web.call import Call
from tests.objects.serving import Serving


class CountingTests(Serving):
    def count(self, method, status, namespace="photos"):
        labels = {"method": method, "status": str(status), "namespace": namespace}
        return self.registry.get_sample_value("activestorage_requests_total", labels)

    async def test_answers(self):
        """Each answer is counted once, refused ones too, with the time it took."""
        object_id = await self.made("k")
        await self.put("k", b"other")
        for _ in range(2):
            await self.get(f"/v1/objects/{object_id}")
        await self.ask("HEAD", self.at("k"))
        await self.get(self.at("k"), Range="bytes=9-")
        await self.ask("DELETE", self.at("k"))
        await self.get(self.at("k"))
        await self.get(self.at("k"), caller=None)
        await self.get(self.at("k"), caller="stranger")
        await self.ask("POST", "/v1/objects", b"", X_Namespace="never-seen-so-far", X_Content_Hash="nonsense")
        for method, status, count in (
            ("POST", 201, 1),
            ("PUT", 409, 1),
            ("GET", 200, 2),
            ("HEAD", 200, 1),
            ("GET", 416, 1),
            ("DELETE", 204, 1),
        ):
            self.assertEqual(self.count(method, status), count, (method, status))
        self.assertEqual(
            (self.count("GET", 404, ""), self.count("GET", 401, ""), self.count("GET", 403, "")), (1, 1, 1)
        )
        self.assertEqual(self.count("POST", 400, "other"), 1)
        times = self.registry.get_sample_value(
            "activestorage_request_duration_seconds_count", {"method": "GET", "namespace": "photos"}
        )
        self.assertEqual(times, 3)


NAMED = 100


class BoundTests(SynchronousTestCase):
    def test_bounded(self):
        """However many namespaces and methods there are, the page stays short, and the sums are right."""
        registry = CollectorRegistry()
        named = frozenset(f"n{number}" for number in range(NAMED))
        requests = Requests(registry, lambda: named)
        for number in range(10 * NAMED):
            call = Call("GET", b"/", {})
            call.topic = f"n{number}"
            requests.note(call, 404, 0.001)
            requests.note(call, 200, 100.0 if number % 2 else 0.005)
            call.method = f"M{number}"
            requests.note(call, 200, 0.001)
        lines = generate_latest(registry).decode().splitlines()
        totals = [line for line in lines if line.startswith("activestorage_requests_total{")]
        self.assertLess(len(lines), NAMED * 50)
        self.assertEqual(sum(float(line.split()[-1]) for line in totals), 30 * NAMED)
        self.assertEqual(len({line.split('namespace="')[1].split('"')[0] for line in totals}), NAMED + 1)
        for bound, count in (("0.005", 3), ("10.0", 3), ("+Inf", 3)):
            labels = {"method": "GET", "namespace": "n2", "le": bound}
            found = registry.get_sample_value("activestorage_request_duration_seconds_bucket", labels)
            self.assertEqual(found, count - 1)

    def test_named_no_more(self):
        """A namespace that others have outgrown gives its name back, and what it counted is with the rest."""
        registry, named = CollectorRegistry(), [frozenset({"old", "stays"})]
        requests = Requests(registry, lambda: named[0])

        def note(namespace, status=200):
            call = Call("GET", b"/", {})
            call.topic = namespace
            requests.note(call, status, 0.001)

        def counted():
            (family,) = [each for each in registry.collect() if each.name == "activestorage_requests"]
            return {sample.labels["namespace"]: sample.value for sample in family.samples}

        for namespace in ("", "old", "old", "stays", "invented", "new"):
            note(namespace)
        self.assertEqual(counted(), {"": 1, "old": 2, "stays": 1, "other": 2})
        named[0] = frozenset({"new", "stays"})
        self.assertEqual(counted(), {"": 1, "stays": 1, "other": 4})
        note("new")
        note("old")
        self.assertEqual(counted(), {"": 1, "stays": 1, "other": 5, "new": 1})
