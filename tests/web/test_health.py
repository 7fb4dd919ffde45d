import json

from stor.web.health import ALIVE, READY, Health
from stor.web.metrics import Metrics
from tests.web.serving import Serving


class HealthTests(Serving):
    def parts(self):
        self.health = Health()
        return [self.health]

    async def ask(self, path):
        response = await self.client.get(self.url(path))
        return response.code, json.loads(await response.content())

    async def test_alive(self):
        """Who answers lives, ready or not."""
        for path in ALIVE:
            self.assertEqual(await self.ask(path), (200, {"status": "ok"}))

    async def test_ready(self):
        """Ready from when we say so until we say otherwise, under all its names."""
        for path in READY:
            self.assertEqual((await self.ask(path))[0], 503)
        self.health.ready = True
        for path in READY:
            self.assertEqual(await self.ask(path), (200, {"status": "ok", "checks": {}}))
        self.health.ready = False
        self.assertEqual(await self.ask("/readyz"), (503, {"status": "not ready", "checks": {}}))

    async def test_checks(self):
        """Each named check must agree; one that breaks does not, and is logged."""
        self.health.ready, answers = True, {"redis": True, "volume": True}
        self.health.add("redis", lambda: answers["redis"])
        self.health.add("volume", lambda: answers["volume"])
        self.assertEqual((await self.ask("/readyz"))[0], 200)
        answers["redis"] = False
        code, said = await self.ask("/readyz")
        self.assertEqual((code, said["checks"]), (503, {"redis": "failing", "volume": "ok"}))
        del answers["redis"]
        self.assertEqual((await self.ask("/readyz"))[0], 503)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class MetricsTests(Serving):
    def parts(self):
        return [Metrics(self.registry, "1.2.3"), Health()]

    async def test_page(self):
        """The page has the version, and what was answered before."""
        await (await self.client.get(self.url("/up"))).content()
        response = await self.client.get(self.url("/metrics"))
        text = await response.text()
        self.assertTrue(response.headers.getRawHeaders("content-type")[0].startswith("text/plain; version="))
        self.assertIn('stor_build_info{version="1.2.3"} 1.0', text)
        self.assertIn('stor_http_request_seconds_count{method="GET",route="/up",status="2xx"} 1.0', text)
