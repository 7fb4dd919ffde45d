"""What the API says while others are at work on the same names."""

from tests.objects.rooms import LARGE, SMALL, body_of, collect
from tests.objects.serving import Serving, etag_of


class ReplacedTests(Serving):
    async def read_between(self, old, new, **headers):
        """Read a key that gets other bytes, the former ones being collected, when it has just been looked up."""
        await self.put("key", old)
        real = self.objects.open

        async def late(found, *part):
            self.objects.open = real
            self.assertEqual((await self.put("key", new, If_Match="*")).code, 201)
            await collect(self.objects)
            return await real(found, *part)

        self.objects.open = late
        said = await self.get(self.at("key"), **headers)
        self.assertEqual((await self.ask("DELETE", self.at("key"))).code, 204)
        return said

    async def test_whole(self):
        """A key that is never free is found: with the bytes that it had, or with those that it got, and their ETag."""
        for size in (SMALL, LARGE):
            old, new = body_of(f"old {size}", size), body_of(f"new {size}", size + 1)
            said = await self.read_between(old, new)
            self.assertEqual(said.code, 200, said.body[:200])
            self.assertIn(said.body, {old, new})
            self.assertEqual(said.headers["etag"], etag_of(said.body))

    async def test_part(self):
        """A part that is beyond the new bytes is judged by them."""
        said = await self.read_between(body_of("old", LARGE), body_of("new", SMALL), Range=f"bytes={LARGE - 10}-")
        self.assertEqual(said.code, 416, said.body[:200])

    async def test_deleted(self):
        """A key that is deleted between is not found."""
        await self.put("key", body_of("old", LARGE))
        real = self.objects.open

        async def late(found, *part):
            self.objects.open = real
            self.assertEqual((await self.ask("DELETE", self.at("key"))).code, 204)
            await collect(self.objects)
            return await real(found, *part)

        self.objects.open = late
        self.assertEqual((await self.get(self.at("key"))).code, 404)
