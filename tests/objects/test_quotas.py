import json

from twisted.internet import reactor

from stor.objects.api.quotas import QuotasApi
from stor.objects.api.usage import UsageApi
from tests.objects.serving import Serving


class QuotaTests(Serving):
    def parts(self):
        return [QuotasApi(self.objects), UsageApi(self.objects, reactor)]

    async def limit(self, tenant="acme", caller="admin", **limits):
        return await self.ask("PUT", f"/v1/quotas/{tenant}", json.dumps(limits).encode(), caller=caller)

    async def used(self, query="", caller=""):
        answer = await self.get(f"/v1/usage{query}", caller=caller)
        self.assertEqual(answer.code, 200, answer.body)
        return answer.json

    async def test_life(self):
        """A quota is set, seen, replaced whole and removed."""
        answer = await self.limit(bytes=100, objects=5)
        self.assertEqual((answer.code, answer.json), (200, {"tenant_id": "acme", "bytes": 100, "objects": 5}))
        self.assertEqual((await self.get("/v1/quotas/acme")).json, answer.json)
        await self.limit(objects=7)
        self.assertEqual((await self.get("/v1/quotas/acme")).json, {"tenant_id": "acme", "bytes": None, "objects": 7})
        self.assertEqual((await self.ask("DELETE", "/v1/quotas/acme", caller="admin")).code, 204)
        self.assert_error(await self.get("/v1/quotas/acme"), 404, "QUOTA_NOT_FOUND")
        self.assert_error(await self.ask("DELETE", "/v1/quotas/acme", caller="admin"), 404, "QUOTA_NOT_FOUND")

    async def test_who(self):
        """Only administrators of all tenants set quotas; a tenant sees its own."""
        for caller in ("acme", "admin-acme", "everywhere", "nobodys"):
            self.assert_error(await self.limit(caller=caller, bytes=1), 403, "FORBIDDEN")
            self.assert_error(await self.ask("DELETE", "/v1/quotas/acme", caller=caller), 403, "FORBIDDEN")
        await self.limit("globex", bytes=1)
        self.assert_error(await self.get("/v1/quotas/globex"), 403, "FORBIDDEN")
        self.assertEqual((await self.get("/v1/quotas")).json, {"quotas": [], "next_cursor": None})
        self.assertEqual((await self.get("/v1/quotas/globex", caller="everywhere")).code, 200)
        self.assertEqual(len((await self.get("/v1/quotas", caller="globex")).json["quotas"]), 1)

    async def test_pages(self):
        """Quotas come page by page; a tenant's name may have a slash."""
        for tenant in ("a%2Fb", "%C3%A9", "acme"):
            self.assertEqual((await self.limit(tenant, bytes=1)).code, 200)
        found, cursor = [], ""
        while cursor is not None:
            page = (await self.get(f"/v1/quotas?limit=1{cursor and '&cursor='}{cursor}", caller="admin")).json
            found += [each["tenant_id"] for each in page["quotas"]]
            cursor = page["next_cursor"]
        self.assertEqual(found, ["a/b", "acme", "é"])

    async def test_nonsense(self):
        """What makes no sense is 400."""
        for limits in ({"bytes": -1}, {"bytes": 2**63}, {"bytes": 1.5}, {"bytes": "1"}, {"size": 1}):
            self.assert_error(await self.limit(**limits), 400, "BAD_REQUEST")
        for tenant in ("%0A", "x" * 129):
            self.assert_error(await self.limit(tenant, bytes=1), 400, "BAD_REQUEST")
        for target in ("/v1/quotas?cursor=x", "/v1/usage?cursor=x"):
            self.assert_error(await self.get(target, caller="admin"), 400, "INVALID_CURSOR")

    async def test_uploads(self):
        """Beyond its quota a tenant's upload is 507, or 413 when it could never fit; nothing of it stays."""
        await self.limit(bytes=20, objects=2)
        self.assertEqual((await self.put("a", b"x" * 15)).code, 201)
        answer = await self.put("b", b"x" * 6)
        self.assert_error(answer, 507, "QUOTA_EXCEEDED")
        details = answer.json["error"]["details"]
        self.assertEqual((details["limit"], details["used"], details["asked"]), ("20", "15", "6"))
        self.assert_error(await self.put("b", b"x" * 21), 413, "QUOTA_EXCEEDED")
        self.assert_error(await self.get(self.at("b")), 404, "OBJECT_NOT_FOUND")
        self.assertEqual((await self.put("b", b"x" * 5)).code, 201)
        self.assert_error(await self.put("c", b""), 507, "QUOTA_EXCEEDED")
        self.assertEqual((await self.put("a", b"x" * 15)).code, 200)
        self.assertEqual((await self.ask("DELETE", self.at("a"))).code, 204)
        self.assertEqual((await self.put("c", b"x" * 15)).code, 201)

    async def test_usage(self):
        """A tenant sees what it has, by namespace and class, with its quota, and nothing of others."""
        await self.limit(bytes=1000)
        await self.put("a", b"hello")
        await self.put("b", b"hello", X_Storage_Class="cold")
        await self.made("c", b"x", X_Namespace="docs")
        await self.post(b"hello", caller="globex")
        nothing, five = {"bytes": 0, "objects": 0}, {"bytes": 5, "objects": 1}
        docs = {"tenant_id": "acme", "namespace": "docs", "bytes": 1, "objects": 1}
        docs["classes"] = {"hot": {"bytes": 1, "objects": 1}, "cold": nothing}
        photos = {"tenant_id": "acme", "namespace": "photos", "bytes": 10, "objects": 2}
        photos["classes"] = {"hot": five, "cold": five}
        expected = {"tenant_id": "acme", "bytes": 11, "objects": 3, "quota": {"bytes": 1000, "objects": None}}
        expected |= {"namespaces": [docs, photos], "next_cursor": None}
        self.assertEqual(await self.used(), expected)
        self.assertEqual(await self.used("?tenant=acme", caller="admin"), expected)
        self.assert_error(await self.get("/v1/usage?tenant=globex"), 403, "FORBIDDEN")
        first = await self.used("?limit=1")
        self.assertEqual((first["namespaces"], first["bytes"]), ([docs], 11))
        second = await self.used(f"?limit=1&cursor={first['next_cursor']}")
        self.assertEqual((second["namespaces"], second["next_cursor"]), ([photos], None))

    async def test_usage_of_all(self):
        """Who is of all tenants sees all of them, and what is stored: equal bytes once in each class."""
        await self.put("a", b"hello")
        await self.put("b", b"hello")
        await self.post(b"hello", caller="globex", X_Storage_Class="cold")
        used = await self.used(caller="everywhere")
        self.assertEqual((used["tenant_id"], used["bytes"], used["objects"], used["quota"]), (None, 15, 3, None))
        self.assertEqual([each["tenant_id"] for each in used["namespaces"]], ["acme", "globex"])
        self.assertEqual(used["stored"], {"hot": {"bytes": 5, "blobs": 1}, "cold": {"bytes": 5, "blobs": 1}})


class PostgresQuotaTests(QuotaTests):
    backend = "postgresql+folder"
