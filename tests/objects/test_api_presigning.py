"""URLs that need no credential: good for one method on one object, and for nothing else."""

import json
from datetime import UTC, datetime
from urllib.parse import quote

from stor.access.presign import LONGEST
from stor.objects import core
from tests.objects.serving import Serving, etag_of, hash_of


class PresignTests(Serving):
    async def sign(self, object_id, /, said=None, **headers):
        body = b"" if said is None else json.dumps(said).encode()
        return await self.ask("POST", f"/v1/objects/{object_id}/presign", body, **headers)

    async def test_read(self):
        """A GET URL reads, with ranges; for HEAD one asks for a URL of its own; nothing else is let in."""
        object_id = await self.made("k")
        answer = await self.sign(object_id)
        self.assertEqual(answer.code, 200, answer.body)
        shown = answer.json
        self.assertEqual(set(shown), {"url", "method", "expires_at", "headers"})
        self.assertEqual((shown["method"], shown["headers"]), ("GET", {}))
        left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
        self.assertTrue(3500 < left.total_seconds() <= 3600, left)
        url = shown["url"]
        heard = await self.get(url, caller=None, Range="bytes=1-2")
        self.assertEqual((heard.code, heard.body), (206, b"el"))
        for method in ("HEAD", "DELETE"):
            self.assertEqual((await self.ask(method, url, caller=None)).code, 401)
        self.assert_error(await self.get(url + "&more=1", caller=None), 401, "UNAUTHORIZED")
        self.assert_error(await self.get(url, caller=None, X_Tenant="acme"), 401, "UNAUTHORIZED")
        other = await self.made("other")
        self.assertEqual((await self.get(url.replace(object_id, other), caller=None)).code, 401)
        head = await self.sign(object_id, {"method": "HEAD", "expires_in": 5})
        self.assertEqual((await self.ask("HEAD", head.json["url"], caller=None)).code, 200)

    async def test_replace(self):
        """A PUT URL replaces what its key has, with the headers that came with it, and only so."""
        for key in ("k", "a/b c?&#é%2F", "a//b"):
            object_id = await self.made(None, X_Key=key)
            shown = (await self.sign(object_id, {"method": "PUT"})).json
            self.assertEqual(shown["headers"], {"If-Match": etag_of(b"hello")})
            url = shown["url"]
            self.assert_error(await self.ask("PUT", url, b"new", caller=None), 403, "FORBIDDEN")
            answer = await self.ask("PUT", url, b"new", caller=None, If_Match=shown["headers"]["If-Match"])
            self.assertEqual((answer.code, answer.json["key"]), (201, key))
            again = await self.ask("PUT", url, b"newer", caller=None, If_Match=shown["headers"]["If-Match"])
            self.assert_error(again, 412, "PRECONDITION_FAILED")
            self.assertEqual((await self.get(url, caller=None)).code, 401)
            self.assertEqual((await self.get(self.at(quote(key)))).body, b"new")

    async def test_no_more_than_that(self):
        """Who has a PUT URL replaces what it was made for, once, and learns nothing of what else there is."""
        await self.made("secret", b"secret")
        shown = (await self.sign(await self.made("k"), {"method": "PUT"})).json
        url, match = shown["url"], shown["headers"]["If-Match"]
        for said in ("*", f'{match}, "x"', f"W/{match}", etag_of(b"secret"), ""):
            answer = await self.ask("PUT", url, b"new", caller=None, If_Match=said)
            self.assert_error(answer, 403, "FORBIDDEN")
        for known in (b"secret", b"unheard of"):
            answer = await self.ask("PUT", url, caller=None, If_Match=match, X_Content_Hash=hash_of(known))
            self.assert_error(answer, 403, "FORBIDDEN")
        self.assertEqual((await self.ask("PUT", url, b"", caller=None, If_Match=match)).code, 201)
        self.patch(core, "EARLY_BYTES", 1000)
        for size in (1, 1001):
            answer = await self.ask("PUT", url, b"x" * size, caller=None, If_Match=match)
            self.assert_error(answer, 412, "PRECONDITION_FAILED")
            self.assertEqual(set(answer.json["error"]["details"]), {"request_id"})
        self.assert_error(
            await self.ask("PUT", url.replace(match[8:16], "0" * 8), b"x", caller=None), 401, "UNAUTHORIZED"
        )

    async def test_one_tenant(self):
        """However the path is written, a URL is good in the tenant of its object only."""
        object_id = await self.made("c", caller="everywhere", X_Tenant="a/b")
        url = (await self.sign(object_id, {"method": "PUT"}, caller="everywhere")).json["url"]
        self.assertIn("/a%2Fb/c?", url)
        self.assert_error(await self.ask("PUT", url.replace("%2F", "/", 1), b"x", caller=None), 403, "FORBIDDEN")
        self.assertEqual((await self.ask("PUT", url, b"x", caller=None, If_Match=etag_of(b"hello"))).code, 201)
        shown = (await self.sign(await self.made("k"), caller="admin")).json
        self.assertIn("stor-tenant=acme", shown["url"])

    async def test_end(self):
        """It ends when it says, and no URL lasts longer than seven days."""
        object_id = await self.made()
        url = (await self.sign(object_id, {"expires_in": 30})).json["url"]
        self.later = 31
        self.assert_error(await self.get(url, caller=None), 401, "UNAUTHORIZED")
        for seconds in (0, -1, LONGEST + 1, 1e300):
            self.assert_error(await self.sign(object_id, {"expires_in": seconds}), 400, "BAD_REQUEST")
        self.assertEqual((await self.sign(object_id, {"expires_in": LONGEST})).code, 200)

    async def test_nonsense(self):
        """What cannot be signed is refused."""
        object_id = await self.made()
        for said in ({"method": "DELETE"}, {"method": "get"}, {"seconds": 3}, [], {"expires_in": "1"}):
            self.assert_error(await self.sign(object_id, said), 400, "BAD_REQUEST")
        self.assert_error(await self.sign(object_id, {"method": "PUT"}), 409, "NO_KEY")
        self.assert_error(await self.sign("nonsense"), 404, "OBJECT_NOT_FOUND")
