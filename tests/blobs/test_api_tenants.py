from tests.blobs.serving import ACME, OnFolder, Serving, together


class TenantTests(OnFolder, Serving):
    """Each tenant has a tree of its own."""

    async def test_apart(self):
        """A tenant's credential sees its tree alone; one of all tenants the root tree, or the one it names."""
        await self.put("/blob/root")
        await self.put("/blob/ours", key=ACME)
        self.assertEqual(await self.paths(), ["root"])
        self.assertEqual((await self.get("/blob/root", key=ACME)).code, 404)
        self.assertEqual((await self.get("/blob/ours", key=ACME)).body, b"hello")
        self.assertEqual((await self.get("/blob/ours", X_Tenant="acme")).body, b"hello")
        self.assertEqual(list((await self.get("/sync", X_Tenant="acme")).json["files"]), ["ours"])
        self.assertEqual((await self.get("/sync", X_Tenant="other")).json["files"], {})

    async def test_confined(self):
        """Another tenant's name is 403 for a tenant's credential, on every route; its own is fine."""
        for method, target in (
            ("GET", "/blob/a"), ("PUT", "/blob/a"), ("DELETE", "/blob/a"), ("GET", "/sync"), ("GET", "/events"),
            ("POST", "/blob/a?restore=1"),
        ):  # fmt: skip
            heard = await self.ask(method, target, key=ACME, X_Tenant="other")
            self.assertEqual((heard.code, set(heard.json)), (403, {"detail", "error_code", "context"}))
        batch = await self.ask(
            "POST", "/batch", b'{"operations":[]}', key=ACME, X_Tenant="other", Content_Type="application/json"
        )
        self.assertEqual(batch.code, 403)
        self.assertEqual((await self.put("/blob/a", key=ACME, X_Tenant="acme")).code, 201)

    async def test_names(self):
        """Names that could lead astray are tenants like any other; impossible ones are refused."""
        for name in "..", ".", "a/b", "a.stor", "%2E":
            self.assertEqual((await self.put("/blob/a", name.encode(), X_Tenant=name)).code, 201, name)
        self.assertEqual((await self.get("/blob/a", X_Tenant="..")).body, b"..")
        self.assertEqual(await self.paths(), [])
        for wrong in "", "x" * 201:
            self.assertEqual((await self.put("/blob/a", X_Tenant=wrong)).code, 400)

    async def test_bounded(self):
        """However many tenants come, so many trees are open; each still has its files."""
        names = [f"t{number}" for number in range(self.tenants * 3)]
        for name in names:
            self.assertEqual((await self.put("/blob/a", name.encode(), X_Tenant=name)).code, 201)
            self.assertLessEqual(self.registry.get_sample_value("stor_blobs_trees_open"), self.tenants + 1)
        found = [(await self.get("/blob/a", X_Tenant=name)).body.decode() for name in names]
        self.assertEqual(found, names)

    async def test_one_opening(self):
        """Many who come first at once share one tree."""
        heard = await together(self.put(f"/blob/{number}", X_Tenant="acme") for number in range(12))
        self.assertEqual({each.code for each in heard}, {201})
        self.assertEqual(len((await self.get("/sync", X_Tenant="acme")).json["files"]), 12)
        self.assertEqual(self.registry.get_sample_value("stor_blobs_trees_open"), 2)
