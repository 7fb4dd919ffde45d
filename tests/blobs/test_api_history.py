from tests.blobs.serving import MD5, READER, InBucket, OnFolder, Serving

HELLO, WORLD = MD5[b"hello"], MD5[b"world"]


class History:
    """Old versions: listed, read, made current again."""

    history_versions = 5

    async def three(self, target="/blob/a"):
        """Write two contents and delete; give the versions, oldest first."""
        first = await self.put(target, b"hello", Content_Type="text/plain", If_None_Match="*")
        second = await self.put(target, b"world", If_Match="*")
        gone = await self.delete(target)
        return [first.version, second.version, gone.version]

    async def test_list(self):
        """All versions, newest first, the current one among them."""
        versions = await self.three()
        heard = (await self.get("/blob/a?versions")).json
        self.assertEqual(heard["path"], "a")
        self.assertEqual([each["version"] for each in heard["versions"]], versions[::-1])
        self.assertEqual([each["md5"] for each in heard["versions"]], [WORLD, WORLD, HELLO])
        self.assertEqual([each["is_deleted"] for each in heard["versions"]], [True, False, False])
        self.assertEqual(heard["versions"][-1]["content_type"], "text/plain")
        self.assertEqual((await self.get("/blob/none?versions")).code, 404)

    async def test_read(self):
        """The bytes of a version with their headers, whole, by range, conditionally."""
        first, second, gone = await self.three()
        heard = await self.get(f"/blob/a?version={first}")
        self.assertEqual((heard.body, heard.etag, heard.version), (b"hello", f'"{HELLO}"', first))
        self.assertEqual(heard.headers["content-type"], "text/plain")
        self.assertEqual((await self.get(f"/blob/a?version={second}", Range="bytes=1-2")).body, b"or")
        self.assertEqual((await self.get(f"/blob/a?version={first}", If_None_Match=f'"{HELLO}"')).code, 304)
        head = await self.ask("HEAD", f"/blob/a?version={first}")
        self.assertEqual((head.code, head.headers["content-length"]), (200, "5"))
        for none in gone, 7:
            self.assertEqual((await self.get(f"/blob/a?version={none}")).code, 404)
        for wrong in "x", "", "-1":
            self.assertEqual((await self.get(f"/blob/a?version={wrong}")).code, 422)

    async def test_restore(self):
        """An old version becomes the current one, under a new version; preconditions hold it back."""
        first, _, gone = await self.three()
        self.assertEqual((await self.ask("POST", f"/blob/a?restore={first}", If_Match="*")).code, 412)
        self.assertEqual((await self.ask("POST", f"/blob/a?restore={first}", If_Match_Version="7")).code, 412)
        heard = await self.ask("POST", f"/blob/a?restore={first}")
        self.assertEqual((heard.code, heard.etag, heard.body), (200, f'"{HELLO}"', b""))
        self.assertGreater(heard.version, gone)
        there = await self.get("/blob/a")
        self.assertEqual((there.body, there.headers["content-type"]), (b"hello", "text/plain"))
        self.assertEqual((await self.ask("POST", "/blob/a?restore=7")).code, 404)

    async def test_namespaced(self):
        """All of it in the other dialect, whose restore is answered with the index."""
        first, _, gone = await self.three("/ns/blob/a")
        self.assertEqual(len((await self.get("/ns/blob/a?versions")).json["versions"]), 3)
        self.assertEqual((await self.get(f"/ns/blob/a?version={first}")).body, b"hello")
        heard = await self.ask("POST", f"/ns/blob/a?restore={first}", If_Match_Version=str(gone))
        self.assertEqual((heard.code, heard.json["files"]["a"]["md5"]), (200, HELLO))

    async def test_permissions(self):
        """Who may only read may read the past, not bring it back."""
        first, *_ = await self.three()
        self.assertEqual((await self.get(f"/blob/a?version={first}", key=READER)).code, 200)
        self.assertEqual((await self.ask("POST", f"/blob/a?restore={first}", key=READER)).code, 403)
        missing = await self.ask("POST", "/blob/a")
        self.assertEqual((missing.code, missing.json["detail"][0]["loc"]), (422, ["query", "restore"]))


class OnFolderTests(History, OnFolder, Serving):
    pass


class InBucketTests(History, InBucket, Serving):
    pass


class WithoutTests(OnFolder, Serving):
    """Where nothing of the past is kept."""

    async def test_current_only(self):
        """The list has what is there, and that version can be asked for."""
        await self.put("/blob/a")
        there = await self.put("/blob/a", b"world")
        (only,) = (await self.get("/blob/a?versions")).json["versions"]
        self.assertEqual(only["version"], there.version)
        self.assertEqual((await self.get(f"/blob/a?version={there.version}")).body, b"world")
