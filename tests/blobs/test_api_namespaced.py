import gzip
import json

from tests.blobs.serving import MD5, InBucket, OnFolder, Serving, digest

HELLO, WORLD = MD5[b"hello"], MD5[b"world"]
ONE = "/personas%2Fdefault%2Fmemory/blob/topics%2Fone.md"


class Namespaced:
    """The namespaced dialect, line by line of the contract's table."""

    async def test_put(self):
        """201 and 200, ETag, X-Version, and the namespace's whole index."""
        made = await self.put(ONE, If_Match_Version="0")
        self.assertEqual((made.code, made.etag), (201, f'"{HELLO}"'))
        changed = await self.put(ONE, b"world", If_Match_Version=str(made.version))
        self.assertEqual((changed.code, changed.etag), (200, f'"{WORLD}"'))
        self.assertGreater(changed.version, made.version)
        await self.put("/elsewhere/blob/two.md", If_Match_Version="0")
        heard = (await self.put(ONE, b"world", If_Match_Version=str(changed.version))).json
        self.assertEqual(set(heard), {"files", "index_last_modified", "index_version"})
        ((name, entry),) = heard["files"].items()
        self.assertEqual((name, entry["md5"], entry["size"], entry["is_deleted"]), ("topics/one.md", WORLD, 5, False))
        self.assertEqual(entry["version"], heard["index_version"])
        self.assertRegex(entry["last_modified"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")

    async def test_version_required(self):
        """422 in the shape that the client knows, before anything is stored."""
        missing = await self.put(ONE)
        self.assertEqual(missing.code, 422)
        (problem,) = missing.json["detail"]
        self.assertEqual((problem["type"], problem["loc"]), ("missing", ["header", "If-Match-Version"]))
        wrong = await self.put(ONE, If_Match_Version="latest")
        self.assertEqual((wrong.code, wrong.json["detail"][0]["type"]), (422, "int_parsing"))
        self.assertEqual(await self.paths(), [])

    async def test_mismatch(self):
        """412 with both versions as text."""
        made = await self.put(ONE, If_Match_Version="0")
        again = await self.put(ONE, b"lost", If_Match_Version="0")
        context = {"current_version": str(made.version), "provided_version": "0"}
        self.assert_error(again, 412, "File already exists", **context)
        other = await self.put(ONE, b"lost", If_Match_Version="7")
        self.assertEqual((other.code, other.json["context"]), (412, {**context, "provided_version": "7"}))
        none = await self.put("/ns/blob/a", If_Match_Version="7")
        self.assert_error(none, 412, "File does not exist", current_version="none", provided_version="7")
        self.assertEqual((await self.get(ONE)).body, b"hello")

    async def test_payload(self):
        """Content-MD5 is the payload's here; a wrong one is 400 and nothing is stored."""
        for wrong in WORLD, "new", "":
            self.assertEqual((await self.put(ONE, If_Match_Version="0", Content_MD5=wrong)).code, 400)
        self.assertEqual(await self.paths(), [])
        self.assertEqual((await self.put(ONE, If_Match_Version="0", Content_MD5=HELLO)).code, 201)
        empty = await self.put("/ns/blob/empty", b"", If_Match_Version="0", Content_MD5=digest(b""))
        self.assertEqual(empty.code, 201)

    async def test_standard_preconditions(self):
        """They work here too, and stand for If-Match-Version."""
        self.assertEqual((await self.put(ONE, If_None_Match="*")).code, 201)
        self.assertEqual((await self.put(ONE, If_None_Match="*")).code, 412)
        self.assertEqual((await self.put(ONE, b"world", If_Match=f'"{HELLO}"')).code, 200)
        self.assertEqual((await self.put(ONE, If_Match_Version="0", If_Match="*")).code, 412)

    async def test_delete(self):
        """200, X-Version and the index; again succeeds again; a wrong version is 412."""
        made = await self.put(ONE, If_Match_Version="0")
        self.assertEqual((await self.delete(ONE, If_Match_Version="7")).code, 412)
        gone = await self.delete(ONE, If_Match_Version=str(made.version))
        entry = gone.json["files"]["topics/one.md"]
        self.assertEqual((gone.code, entry["is_deleted"], entry["md5"], entry["size"]), (200, True, HELLO, 0))
        self.assertEqual((gone.version, gone.version > made.version), (entry["version"], True))
        again = await self.delete(ONE)
        self.assertEqual((again.code, again.json), (200, gone.json))
        self.assertEqual((await self.get(ONE)).code, 404)
        revived = await self.put(ONE, b"world", If_Match_Version=str(gone.version))
        self.assertEqual((revived.code, (await self.get(ONE)).body), (200, b"world"))

    async def test_get(self):
        """GET and HEAD carry X-Version, the index's."""
        made = await self.put(ONE, If_Match_Version="0", Content_Type="text/plain")
        for method in "GET", "HEAD":
            heard = await self.ask(method, ONE)
            self.assertEqual(
                (heard.code, heard.version, heard.headers["content-type"]), (200, made.version, "text/plain")
            )

    async def test_one_tree(self):
        """A file is one file in both dialects, with an md5 and a version whichever wrote it."""
        made = await self.put(ONE, If_Match_Version="0")
        plain = "/blob/personas/default/memory/topics/one.md"
        heard = await self.get(plain)
        self.assertEqual((heard.body, heard.version), (b"hello", made.version))
        self.assertEqual((await self.put(plain, b"world", Content_MD5=HELLO)).code, 200)
        version = (await self.get(ONE)).version
        self.assertEqual((await self.put(ONE, If_Match_Version=str(version))).code, 200)
        whole = (await self.get("/sync")).json["files"]
        below = (await self.get("/sync/personas/default/memory")).json["files"]
        self.assertEqual(whole, {"personas/default/memory/topics/one.md": below["topics/one.md"]})

    async def test_compressed_index(self):
        """The index behind a write is compressed for who takes it."""
        for number in range(20):
            heard = await self.put(f"/ns/blob/{number}", If_Match_Version="0", Accept_Encoding="gzip")
        self.assertEqual(heard.headers["content-encoding"], "gzip")
        self.assertEqual(len(json.loads(gzip.decompress(heard.body))["files"]), 20)


class OnFolderTests(Namespaced, OnFolder, Serving):
    pass


class InBucketTests(Namespaced, InBucket, Serving):
    pass


class PathTests(OnFolder, Serving):
    """How targets are read."""

    async def test_encodings(self):
        """A slash is a slash, raw or encoded, in either part; each file can be read by all of them."""
        await self.put(ONE, If_Match_Version="0")
        for same in (
            "/personas/default/memory/blob/topics/one.md",
            "/personas%2fdefault/memory/blob/topics%2Fone.md",
            "/personas/default/memory%2Fblob%2Ftopics/one.md",
            "/blob/personas%2Fdefault/memory/topics/one.md",
            "/blob%2Fpersonas/default/memory/topics/one.md",
        ):
            self.assertEqual((await self.get(same)).body, b"hello", same)
        self.assertEqual(await self.paths(), ["personas/default/memory/topics/one.md"])

    async def test_plain_stays_plain(self):
        """A plain path that itself contains /blob/."""
        self.assertEqual((await self.put("/blob/a/blob/b", Content_MD5="new")).code, 201)
        self.assertEqual((await self.put("/blob%2Fc%2Fblob%2Fd", Content_MD5="new")).code, 201)
        self.assertEqual(await self.paths(), ["a/blob/b", "c/blob/d"])

    async def test_first_blob_parts(self):
        """The first /blob/ parts namespace and path."""
        self.assertEqual((await self.put("/ns/blob/a/blob/b", If_Match_Version="0")).code, 201)
        self.assertEqual(await self.paths(), ["ns/a/blob/b"])
        self.assertEqual(await self.paths("/sync/ns"), ["a/blob/b"])

    async def test_decoded_once(self):
        """%252F is three characters, and names of any script come back as they went."""
        for target, path in ("/blob/a%252Fb", "a%2Fb"), ("/blob/%C3%A9t%C3%A9", "été"), ("/blob/a+b%20c%3F", "a+b c?"):
            self.assertEqual((await self.put(target)).code, 201)
            self.assertIn(path, await self.paths())
            self.assertEqual((await self.get(target)).body, b"hello")

    async def test_refused(self):
        """Paths that no store should see are 400, in both dialects, for all methods, before anything is stored."""
        for path in (
            "a//b", "a/", "a/./b", "..", "../x", "%2E%2E/x", "a%00b", "a%0Ab", "a%7Fb", "x" * 1025,
            ".sync-index.json", "a/.sync-index.json",
        ):  # fmt: skip
            for target in f"/blob/{path}", f"/ns/blob/{path}":
                heard = [
                    await self.put(target, If_Match_Version="0"),
                    await self.get(target),
                    await self.delete(target),
                ]
                self.assertEqual([each.code for each in heard], [400] * 3, target)
                self.assertEqual(set(heard[0].json), {"detail", "error_code", "context"}, target)
        self.assertEqual((await self.put("/blob/%FF")).code, 400)
        for namespace in "a//b", "..", "sync/a":
            self.assertEqual((await self.put(f"/{namespace}/blob/a", If_Match_Version="0")).code, 400, namespace)
        self.assertEqual(await self.paths(), [])

    async def test_unknown(self):
        """An unknown route or method has the one key that clients know."""
        for target in "/nowhere", "/", "/blob", "/ns/blob":
            heard = await self.get(target)
            self.assertEqual((heard.code, heard.json), (404, {"detail": "Not Found"}), target)
        for method, target in ("PATCH", "/blob/a"), ("PUT", "/sync"), ("POST", "/sync/ns"), ("GET", "/batch"):
            heard = await self.ask(method, target)
            self.assertEqual((heard.code, heard.json), (405, {"detail": "Method Not Allowed"}), target)
