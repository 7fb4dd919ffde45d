import json

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from stor.web.health import ALIVE, READY, Health
from stor.web.metrics import Metrics
from tests.web.serving import Serving


class HealthTests(Serving):
    def parts(self):
        self.health = Health("1.2.3", reactor)
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

    async def test_reasons(self):
        """A check may say why it does not agree; any words of it mean no."""
        self.health.ready, answers = True, {"store": "no space left", "database": True}
        self.health.add("store", lambda: answers["store"])
        self.health.add("database", lambda: answers["database"])
        code, said = await self.ask("/ready")
        self.assertEqual((code, said["checks"]), (503, {"store": "no space left", "database": "ok"}))
        answers["store"] = ""
        self.assertEqual((await self.ask("/ready"))[0], 503)
        answers["store"] = True
        self.assertEqual((await self.ask("/ready"))[0], 200)


class ProbeTests(Serving):
    """`/health`: does what we stand on answer?"""

    def parts(self):
        self.health = Health("1.2.3", reactor)
        return [self.health]

    async def ask(self):
        response = await self.client.get(self.url("/health"))
        return response.code, json.loads(await response.content())

    def fresh(self):
        """Forget what was kept."""
        for probe in self.health._probes.values():
            probe._until = 0.0

    async def test_nothing_to_ask(self):
        """Without anything to ask, we are well."""
        self.assertEqual(await self.ask(), (200, {"status": "ok", "version": "1.2.3"}))

    async def test_connected(self):
        """What answers is connected, and what raises is not; an answer is kept for a moment."""
        asked, error = [], None

        async def store():
            asked.append(1)
            if error is not None:
                raise error

        self.health.add_probe("storage", store)
        well = {"status": "ok", "version": "1.2.3", "storage": "connected"}
        self.assertEqual([await self.ask() for _ in range(3)], [(200, well)] * 3)
        self.assertEqual(len(asked), 1)
        error = RuntimeError("secret detail")
        self.fresh()
        self.assertEqual(await self.ask(), (503, {**well, "status": "error", "storage": "disconnected"}))

    async def test_hangs(self):
        """What hangs is not connected, within a second; it is asked once, and heard when it comes back."""
        asked, answer = [], Deferred()

        async def store():
            asked.append(1)
            await answer

        async def quick():
            pass

        self.health.add_probe("storage", store)
        self.health.add_probe("database", quick)
        began = reactor.seconds()
        found = await gatherResults([Deferred.fromCoroutine(self.ask()) for _ in range(3)])
        self.assertLess(reactor.seconds() - began, 1.0)
        for code, said in found:
            self.assertEqual((code, said["storage"], said["database"]), (503, "disconnected", "connected"))
        self.assertEqual((await self.ask())[0], 503)
        self.assertEqual(len(asked), 1)
        answer.callback(None)
        self.assertEqual((await self.ask())[0], 200)


class MetricsTests(Serving):
    def parts(self):
        return [Metrics(self.registry, "1.2.3"), Health("1.2.3", reactor)]

    async def test_page(self):
        """The page has the version, and what was answered before."""
        await (await self.client.get(self.url("/up"))).content()
        response = await self.client.get(self.url("/metrics"))
        text = await response.text()
        self.assertTrue(response.headers.getRawHeaders("content-type")[0].startswith("text/plain; version="))
        self.assertIn('stor_build_info{version="1.2.3"} 1.0', text)
        self.assertIn('stor_http_request_seconds_count{method="GET",route="/up",status="2xx"} 1.0', text)
