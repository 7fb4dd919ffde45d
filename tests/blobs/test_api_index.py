import gzip

from tests.blobs.serving import MD5, InBucket, OnFolder, Serving, together

PLACES = [f"{letter}/{number}" for letter in "ab" for number in range(12)]


class Index:
    """`/sync`: whole, by namespace, by condition, compressed, by pages and by deltas."""

    async def test_empty(self):
        """A tree and a namespace without files are 200 and empty."""
        for target in "/sync", "/sync/none", "/sync/a%2Fb":
            heard = await self.get(target)
            self.assertEqual((heard.code, heard.json["files"]), (200, {}))
            self.assertEqual(heard.headers["content-type"], "application/json")

    async def test_shape(self):
        """The contract's keys, for whichever dialect wrote."""
        await self.put("/blob/a")
        await self.put("/ns/blob/b", If_Match_Version="0")
        heard = (await self.get("/sync")).json
        self.assertEqual(set(heard), {"files", "index_last_modified", "index_version"})
        for entry in heard["files"].values():
            self.assertEqual(set(entry), {"md5", "last_modified", "size", "is_deleted", "version"})
            self.assertRegex(entry["last_modified"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertEqual(heard["index_version"], max(entry["version"] for entry in heard["files"].values()))
        self.assertEqual(await self.paths("/sync/ns"), ["b"])

    async def test_etag(self):
        """304 while nothing has changed, and not after it did."""
        await self.put("/blob/a")
        there = await self.get("/sync")
        for known in there.etag, f'"x", W/{there.etag}', "*":
            heard = await self.get("/sync", If_None_Match=known)
            self.assertEqual((heard.code, heard.etag, heard.body), (304, there.etag, b""))
        await self.put("/blob/a", b"world")
        self.assertEqual((await self.get("/sync", If_None_Match=there.etag)).code, 200)

    async def test_gzip(self):
        """Compressed for who takes it: the same JSON under an ETag of its own, good for 304 as well."""
        await together(self.put(f"/blob/{place}") for place in PLACES)
        plain, packed = await self.get("/sync"), await self.get("/sync", Accept_Encoding="gzip")
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        self.assertNotEqual(packed.etag, plain.etag)
        for etag in packed.etag, plain.etag:
            heard = await self.get("/sync", Accept_Encoding="gzip", If_None_Match=etag)
            self.assertEqual((heard.code, heard.etag), (304, packed.etag))
        self.assertIn("accept-encoding", plain.headers["vary"])

    async def test_since(self):
        """Only what changed after the cursor, as it is now; a tombstone is a change."""
        await together(self.put(f"/blob/{place}") for place in PLACES)
        cursor = (await self.get("/sync")).headers["x-cursor"]
        nothing = (await self.get(f"/sync?since={cursor}")).json
        self.assertEqual((nothing["files"], nothing["reset"]), ({}, False))
        await self.put("/blob/a/1", b"lost")
        await self.put("/blob/a/1", b"world")
        await self.delete("/blob/b/2")
        delta = (await self.get(f"/sync?since={cursor}")).json
        self.assertEqual(set(delta), {"files", "index_last_modified", "index_version", "cursor", "reset"})
        self.assertEqual(delta["files"]["a/1"]["md5"], MD5[b"world"])
        self.assertEqual(
            {path: entry["is_deleted"] for path, entry in delta["files"].items()}, {"a/1": False, "b/2": True}
        )
        self.assertEqual((await self.get(f"/sync/b?since={cursor}")).json["files"].keys(), {"2"})
        self.assertEqual((await self.get(f"/sync?since={delta['cursor']}")).json["files"], {})

    async def test_foreign_cursor(self):
        """Of another tree: everything, and it is said so. What is no cursor at all is refused."""
        await self.put("/blob/a")
        heard = (await self.get("/sync?since=somewhere-3")).json
        self.assertEqual((heard["reset"], list(heard["files"])), (True, ["a"]))
        for wrong in "", "x", "-", "a-b":
            self.assertEqual((await self.get(f"/sync?since={wrong}")).code, 400, wrong)

    async def test_pages(self):
        """Following the links gives every file once, in the order of paths."""
        await together(self.put(f"/blob/{place}") for place in PLACES)
        target, found = "/sync?limit=7", []
        while target:
            heard = await self.get(target)
            found += heard.json["files"]
            link = heard.headers.get("link")
            self.assertEqual(heard.json["next"] is None, link is None)
            target = link and link.removeprefix("<").partition(">")[0]
        self.assertEqual(found, sorted(PLACES))
        self.assertEqual(list((await self.get("/sync/a?limit=2&after=0")).json["files"]), ["1", "10"])

    async def test_wrong_queries(self):
        """A limit that is none is 422 with its place; two ways at once are 400."""
        for limit in "0", "-1", "x", "10001", "9" * 5000, "1000" + "0" * 9, "000001000" + "0" * 9, "%D9%A3":
            heard = await self.get(f"/sync?limit={limit}")
            self.assertEqual((heard.code, heard.json["detail"][0]["loc"]), (422, ["query", "limit"]), limit)
        self.assertEqual((await self.get("/sync?since=a-1&limit=3")).code, 400)
        for namespace in "a//b", "..", "a%00":
            self.assertEqual((await self.get(f"/sync/{namespace}")).code, 400)

    async def test_at_once(self):
        """Of many who create one file together one wins, and all that is acknowledged is shown."""
        heard = await together(self.put("/blob/one", str(number).encode(), Content_MD5="new") for number in range(12))
        self.assertEqual(sorted(each.code for each in heard), [201] + [412] * 11)
        await together(self.put(f"/blob/{place}") for place in PLACES)
        self.assertEqual(await self.paths(), sorted([*PLACES, "one"]))

    async def test_head(self):
        """HEAD is GET without its body."""
        await self.put("/blob/a")
        whole, head = await self.get("/sync"), await self.ask("HEAD", "/sync")
        self.assertEqual(
            (head.code, head.etag, head.headers["content-length"]), (200, whole.etag, str(len(whole.body)))
        )


class OnFolderTests(Index, OnFolder, Serving):
    pass


class InBucketTests(Index, InBucket, Serving):
    pass
