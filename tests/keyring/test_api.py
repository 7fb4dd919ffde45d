"""`/v1/api-keys` over HTTP, as docs/protocols/access.md has it."""

import json
from datetime import datetime

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.access.tokens import token
from tests.keyring.houses import JWT_SECRET, KeyHouse


class KeysApiTests(KeyHouse):
    async def refused(self, status, code, method="GET", path="", **more):
        """One error, in the shape of all of /v1."""
        found, headers, said = await self.call(method, path, **more)
        self.assertEqual(
            (found, set(said), set(said["error"])), (status, {"error"}, {"code", "message", "details"}), said
        )
        self.assertEqual(said["error"]["code"], code)
        self.assertTrue(said["error"]["message"])
        return headers, said["error"]

    async def test_life(self):
        """A key is made, shown once, listed, used, revoked; and then it opens nothing, but is still told of."""
        code, headers, made = await self.call(
            "POST",
            body={"name": "ci", "permissions": ["keys:manage", "blobs:read"], "tenant_id": "acme", "expires_in": 60},
        )
        text = made.pop("key")
        self.assertEqual((code, headers.getRawHeaders("location")), (201, [f"/v1/api-keys/{made['id']}"]))
        self.assertEqual(headers.getRawHeaders("cache-control"), ["no-store"])
        self.assertTrue(text.startswith(made["prefix"] + "_"))
        self.assertEqual((made["name"], made["tenant_id"]), ("ci", "acme"))
        self.assertEqual(made["permissions"], ["blobs:read", "keys:manage"])
        self.assertEqual((made["created_by"], made["last_used_at"], made["revoked_at"]), ("listed:1", None, None))
        moments = [datetime.strptime(made[name], "%Y-%m-%dT%H:%M:%S.%f%z") for name in ("created_at", "expires_at")]
        self.assertEqual((moments[1] - moments[0]).total_seconds(), 60)

        self.assertEqual((await self.call("GET", f"/{made['id']}"))[::2], (200, made))
        self.assertEqual((await self.call("GET"))[2], {"keys": [made], "cursor": None})
        code, _, seen = await self.call("GET", f"/{made['id']}", key=text)
        self.assertEqual((code, seen["last_used_at"] is None), (200, False))

        for _ in range(2):
            self.assertEqual((await self.call("DELETE", f"/{made['id']}"))[::2], (204, None))
        await self.refused(401, "UNAUTHORIZED", key=text)
        code, _, seen = await self.call("GET", f"/{made['id']}")
        self.assertEqual((code, seen["revoked_at"] is None), (200, False))

    async def test_who_may(self):
        """Only who may manage keys; and 401 says by which scheme."""
        reader = (await self.make())["key"]
        for method, path in (("POST", ""), ("GET", ""), ("GET", "/x"), ("DELETE", "/x")):
            headers, _ = await self.refused(401, "UNAUTHORIZED", method, path, key=None)
            self.assertEqual(headers.getRawHeaders("www-authenticate"), ["Bearer"])
            await self.refused(403, "FORBIDDEN", method, path, key=reader)

    async def test_no_more_than_one_holds(self):
        """A key gives what it holds in its own tenant, and nothing else; left out, the tenant is its own."""
        keeper = (await self.make(permissions=["keys:manage", "blobs:read"], tenant_id="acme"))["key"]
        made = await self.make(key=keeper)
        self.assertEqual(made["tenant_id"], "acme")
        self.assertEqual((await self.make())["tenant_id"], None)
        for wish in (
            {"permissions": ["blobs:write"]},
            {"permissions": ["admin"]},
            {"tenant_id": "other"},
            {"tenant_id": None},
        ):
            body = {"name": "x", "permissions": ["blobs:read"]} | wish
            await self.refused(403, "FORBIDDEN", "POST", body=body, key=keeper)

    async def test_tenants(self):
        """Another tenant's key is one that does not exist."""
        keeper = await self.make(permissions=["keys:manage"], tenant_id="acme")
        other = await self.make(tenant_id="other")
        for key_id in (other["id"], "0123456789", "%00", "x" * 100):
            for method in ("GET", "DELETE"):
                await self.refused(404, "KEY_NOT_FOUND", method, f"/{key_id}", key=keeper["key"])
        _, _, said = await self.call("GET", key=keeper["key"])
        self.assertEqual([key["id"] for key in said["keys"]], [keeper["id"]])

    async def test_stronger(self):
        """A key that may do more cannot be revoked by one that may do less."""
        keeper = await self.make(permissions=["keys:manage"], tenant_id="acme")
        strong = await self.make(permissions=["admin"], tenant_id="acme")
        await self.refused(403, "FORBIDDEN", "DELETE", f"/{strong['id']}", key=keeper["key"])

    async def test_pages(self):
        """Pages by cursor give each key once."""
        made = [(await self.make(name=f"k{number}"))["id"] for number in range(5)]
        seen, path = [], "?limit=2"
        while path:
            _, _, said = await self.call("GET", path)
            seen += [key["id"] for key in said["keys"]]
            path = f"?limit=2&cursor={said['cursor']}" if said["cursor"] else None
        self.assertEqual(seen, made)

    async def test_bad_requests(self):
        """What makes no sense is 400 and says why; a body that is too long is 413."""
        for body in (
            {},
            {"name": "x"},
            {"name": "x", "permissions": []},
            {"name": "x", "permissions": ["fly"]},
            {"name": "x", "permissions": "blobs:read"},
            {"name": "", "permissions": ["blobs:read"]},
            {"name": "a\nb", "permissions": ["blobs:read"]},
            {"name": "x", "permissions": ["blobs:read"], "tenant_id": ""},
            {"name": "x", "permissions": ["blobs:read"], "expires_in": 0},
            {"name": "x", "permissions": ["blobs:read"], "expires_in": "1h"},
            {"name": "x", "permissions": ["blobs:read"], "tenant": "acme"},
            [],
        ):
            await self.refused(400, "BAD_REQUEST", "POST", body=body)
        for data in (b"", b"{", b"\xff"):
            await self.refused(400, "BAD_REQUEST", "POST", data=data)
        for query in ("?limit=0", "?limit=1001", "?limit=x", "?limit=%C2%B2", "?cursor=", "?cursor=x", "?cursor=1-%00"):
            await self.refused(400, "BAD_REQUEST", path=query)
        await self.refused(413, "TOO_LARGE", "POST", data=b" " * 20_000)
        self.assertEqual((await self.call("GET"))[2]["keys"], [])

    async def test_by_token(self):
        """Who comes with a JWT that may manage keys makes one for its own tenant."""
        signed = token(JWT_SECRET, permissions=["keys:manage", "blobs:read"], tenant_id="acme")
        made = await self.make(key=signed)
        self.assertEqual((made["created_by"], made["tenant_id"]), ("jwt:alice", "acme"))

    async def test_audit(self):
        """Making, revoking and being refused leave a line, with who it was; no line holds a key."""
        made = await self.make()
        await self.call("GET")
        await self.call("DELETE", f"/{made['id']}")
        await self.call("GET", key=None)
        await self.call("POST", key=made["key"])
        await deferLater(reactor, 0.02)
        lines = [
            (event["method"], event["status"], event["outcome"], event["principal"])
            for batch in self.audited
            for event in batch["lines"]
        ]
        self.assertEqual(
            lines,
            [
                ("POST", 201, "done", "listed:1"),
                ("DELETE", 204, "done", "listed:1"),
                ("GET", 401, "refused", None),
                ("POST", 401, "refused", None),
            ],
        )
        self.assertNotIn(made["key"], json.dumps([str(event) for event in self.audited]))
