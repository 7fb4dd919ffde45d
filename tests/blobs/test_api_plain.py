from tests.blobs.serving import KEY, MD5, MOST_BYTES, READER, InBucket, OnFolder, Serving, digest, heard

HELLO, WORLD = MD5[b"hello"], MD5[b"world"]
NOBODY = "0" * 32


class Plain:
    """The plain dialect, line by line of the contract's table."""

    async def test_put(self):
        """201 for a new file and 200 for a changed one, its md5 as ETag, nothing in the body."""
        for body, code in (b"hello", 201), (b"world", 200), (b"", 200):
            heard = await self.put("/blob/notes/one.md", body)
            self.assertEqual((heard.code, heard.etag, heard.body), (code, f'"{digest(body)}"', b""))
            self.assertEqual((await self.get("/blob/notes/one.md")).body, body)

    async def test_new(self):
        """`new` creates once; then 412 with what is there and what was asked for."""
        self.assertEqual((await self.put("/blob/a", Content_MD5="new")).code, 201)
        again = await self.put("/blob/a", b"world", Content_MD5="new")
        self.assert_error(again, 412, "File already exists", current_md5=HELLO, provided_md5="new")
        self.assertEqual((await self.get("/blob/a")).body, b"hello")

    async def test_md5(self):
        """The md5 of the current content lets an update through; another one, or none, does not."""
        await self.put("/blob/a")
        self.assertEqual((await self.put("/blob/a", b"world", Content_MD5=HELLO)).code, 200)
        for wrong in HELLO, "":
            heard = await self.put("/blob/a", b"lost", Content_MD5=wrong)
            self.assert_error(heard, 412, "Content-MD5 mismatch", current_md5=WORLD, provided_md5=wrong)
        self.assertEqual((await self.get("/blob/a")).body, b"world")

    async def test_md5_of_nothing(self):
        """Where nothing is, a digest fails, and the current one is called none."""
        heard = await self.put("/blob/a", Content_MD5=HELLO)
        self.assert_error(heard, 412, "File does not exist", current_md5="none", provided_md5=HELLO)
        self.assertEqual((await self.get("/blob/a")).code, 404)

    async def test_standard_preconditions(self):
        """If-None-Match: * and If-Match work beside the older form; all that are given must hold."""
        self.assertEqual((await self.put("/blob/a", If_Match="*")).code, 412)
        self.assertEqual((await self.put("/blob/a", If_None_Match="*")).code, 201)
        self.assertEqual((await self.put("/blob/a", If_None_Match="*")).code, 412)
        self.assertEqual((await self.put("/blob/a", b"world", If_Match=f'"{NOBODY}", "{HELLO}"')).code, 200)
        self.assertEqual((await self.put("/blob/a", If_Match=f'W/"{WORLD}"')).code, 412)
        both = await self.put("/blob/a", If_Match="*", Content_MD5=HELLO)
        self.assert_error(both, 412, "Content-MD5 mismatch", current_md5=WORLD, provided_md5=HELLO)
        self.assertEqual((await self.put("/blob/a", If_Match="*", Content_MD5=WORLD)).code, 200)

    async def test_delete(self):
        """204; then 404 that says so, the index keeps the md5, and a second DELETE succeeds again."""
        await self.put("/blob/a")
        self.assertEqual([(await self.delete("/blob/a")).code for _ in range(2)], [204, 204])
        self.assert_error(await self.get("/blob/a"), 404, "File is deleted: a")
        entry = (await self.get("/sync")).json["files"]["a"]
        self.assertEqual((entry["md5"], entry["size"], entry["is_deleted"]), (HELLO, 0, True))
        self.assert_error(await self.delete("/blob/never"), 404, "File not found: never")

    async def test_delete_if_match(self):
        """If-Match, with or without its quotes."""
        await self.put("/blob/a")
        await self.put("/blob/b")
        wrong = await self.delete("/blob/a", If_Match=f'"{WORLD}"')
        self.assert_error(wrong, 412, "Content-MD5 mismatch", current_md5=HELLO, provided_md5=WORLD)
        self.assertEqual((await self.delete("/blob/a", If_Match=f'"{HELLO}"')).code, 204)
        self.assertEqual((await self.delete("/blob/b", If_Match=HELLO)).code, 204)

    async def test_over_a_tombstone(self):
        """`new` is refused, the old md5 or no condition revives with 200, If-None-Match: * creates."""
        for headers, code in ({}, 200), ({"Content_MD5": HELLO}, 200), ({"If_None_Match": "*"}, 201):
            await self.put("/blob/a")
            await self.delete("/blob/a")
            refused = await self.put("/blob/a", Content_MD5="new")
            self.assertEqual((refused.code, refused.json["detail"]), (412, "File already exists"))
            self.assertEqual(refused.json["context"]["is_deleted"], "true")
            self.assertEqual((await self.put("/blob/a", **headers)).code, code)
            self.assertEqual((await self.get("/blob/a")).body, b"hello")

    async def test_headers(self):
        """GET and HEAD: a strong ETag, the type as stored or octet-stream, Last-Modified in GMT."""
        await self.put("/blob/a", Content_Type="text/markdown; charset=utf-8")
        await self.put("/blob/b")
        for method in "GET", "HEAD":
            heard = await self.ask(method, "/blob/a")
            self.assertEqual((heard.code, heard.etag), (200, f'"{HELLO}"'))
            self.assertEqual(heard.headers["content-type"], "text/markdown; charset=utf-8")
            self.assertRegex(heard.headers["last-modified"], r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
            self.assertEqual(heard.headers["content-length"], "5")
            self.assertEqual((await self.ask(method, "/blob/b")).headers["content-type"], "application/octet-stream")
        self.assert_error(await self.get("/blob/c"), 404, "File not found: c")
        self.assertEqual((await self.ask("HEAD", "/blob/c")).code, 404)

    async def test_gzip_is_a_type(self):
        """What is stored compressed comes back as it is, never called an encoding."""
        await self.put("/blob/a.gz", b"\x1f\x8b\x08", Content_Type="application/gzip")
        heard = await self.get("/blob/a.gz", Accept_Encoding="gzip")
        self.assertEqual((heard.headers["content-type"], heard.body), ("application/gzip", b"\x1f\x8b\x08"))
        self.assertNotIn("content-encoding", heard.headers)

    async def test_conditional_get(self):
        """304 for who has it, by ETag or time; 412 for who wanted another."""
        await self.put("/blob/a")
        there = await self.get("/blob/a")
        for headers in {"If_None_Match": there.etag}, {"If_None_Match": f'W/{there.etag}, "x"'}, {"If_None_Match": "*"}:
            heard = await self.get("/blob/a", **headers)
            self.assertEqual((heard.code, heard.etag, heard.body), (304, there.etag, b""))
        self.assertEqual((await self.get("/blob/a", If_Modified_Since=there.headers["last-modified"])).code, 304)
        self.assertEqual((await self.get("/blob/a", If_None_Match='"x"')).code, 200)
        self.assertEqual((await self.get("/blob/a", If_Match='"x"')).code, 412)
        self.assertEqual((await self.get("/blob/a", If_Unmodified_Since="Thu, 01 Jan 1970 00:00:00 GMT")).code, 412)
        self.assertEqual((await self.get("/blob/none", If_None_Match="*")).code, 404)

    async def test_large(self):
        """A body that is more than memory takes comes back as it went, whole and by ranges."""
        body = bytes(range(256)) * 12_000
        self.assertEqual((await self.put("/blob/large", body)).etag, f'"{digest(body)}"')
        self.assertEqual((await self.get("/blob/large")).body, body)
        part = await self.get("/blob/large", Range="bytes=1000000-2999999")
        self.assertEqual((part.code, part.body), (206, body[1_000_000:3_000_000]))

    async def test_too_large(self):
        """413 by what is announced, and by what comes; nothing is kept."""
        for headers in {}, {"Content_MD5": "new"}:
            heard = await self.put("/blob/big", bytes(MOST_BYTES + 1), **headers)
            self.assertEqual((heard.code, set(heard.json)), (413, {"detail", "error_code", "context"}))
        self.assertEqual(await self.paths(), [])
        self.assertEqual((await self.put("/blob/big", bytes(MOST_BYTES))).code, 201)


class OnFolderTests(Plain, OnFolder, Serving):
    pass


class InBucketTests(Plain, InBucket, Serving):
    pass


class ReaderTests(OnFolder, Serving):
    """What a reader may ask for, and what is kept from browsers."""

    async def test_ranges(self):
        """From, to, the last bytes; one beyond the end is 416; several or none at all are answered whole."""
        await self.put("/blob/a", b"0123456789")
        for asked, body, told in (
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=8-99", b"89", "bytes 8-9/10"),
        ):
            heard = await self.get("/blob/a", Range=asked)
            self.assertEqual((heard.code, heard.body, heard.headers["content-range"]), (206, body, told))
        beyond = await self.get("/blob/a", Range="bytes=10-")
        self.assertEqual((beyond.code, beyond.headers["content-range"]), (416, "bytes */10"))
        for whole in "bytes=1-2,4-5", "bytes=x", "lines=1-2", "bytes=5-2":
            self.assertEqual((await self.get("/blob/a", Range=whole)).code, 200, whole)
        head = await self.ask("HEAD", "/blob/a", Range="bytes=2-4")
        self.assertEqual((head.code, head.headers["content-length"]), (200, "10"))

    async def test_if_range(self):
        """A range of a state that is gone is answered with the whole of what is there."""
        etag = (await self.put("/blob/a", b"0123456789")).etag
        self.assertEqual((await self.get("/blob/a", Range="bytes=2-4", If_Range=etag)).code, 206)
        self.assertEqual((await self.get("/blob/a", Range="bytes=2-4", If_Range='"other"')).code, 200)

    async def test_no_scripts(self):
        """A stored page is kept from acting in our name, and is no part of anybody's page."""
        await self.put("/blob/a.html", b"<script>", Content_Type="text/html")
        heard = await self.get("/blob/a.html", Sec_Fetch_Dest="document")
        self.assertEqual(heard.headers["content-type"], "text/html")
        self.assertEqual(heard.headers["x-content-type-options"], "nosniff")
        self.assertEqual(heard.headers["content-security-policy"], "sandbox; default-src 'none'")
        self.assertEqual(heard.headers["cross-origin-resource-policy"], "same-origin")
        for place in "script", "worker", "serviceworker", "style", "iframe", "object":
            self.assertEqual((await self.get("/blob/a.html", Sec_Fetch_Dest=place)).code, 403)
        self.assertEqual((await self.get("/blob/a.html", Sec_Fetch_Dest="empty")).code, 200)

    async def test_permissions(self):
        """401 without a credential or with a wrong one, 403 for a reader who writes; nothing is kept."""
        for method, target in ("GET", "/blob/a"), ("PUT", "/blob/a"), ("DELETE", "/blob/a"), ("GET", "/sync"):
            for key in None, "x" * 40:
                heard = await self.ask(method, target, key=key)
                self.assertEqual((heard.code, heard.headers["www-authenticate"]), (401, "Bearer"))
                self.assertEqual(set(heard.json), {"detail", "error_code", "context"})
        self.assertEqual((await self.get("/sync", key="x" * 40)).json["detail"], "Invalid or expired token")
        for method in "PUT", "DELETE":
            self.assertEqual((await self.ask(method, "/blob/a", key=READER)).code, 403)
        self.assertEqual((await self.get("/sync", key=READER)).json["files"], {})

    async def test_content_types(self):
        """A type that a store could not carry is refused."""
        for wrong in "x" * 256, "tëxt/plain":
            self.assertEqual((await self.put("/blob/a", Content_Type=wrong)).code, 400)
        self.assertEqual(await self.paths(), [])

    async def test_unsupported_preconditions(self):
        """A precondition that could not be kept to is refused rather than ignored."""
        for headers in {"If_Unmodified_Since": "Thu, 15 Jan 2026 10:30:00 GMT"}, {"If_None_Match": f'"{HELLO}"'}:
            self.assertEqual((await self.put("/blob/a", **headers)).code, 400)
        self.assertEqual(await self.paths(), [])

    async def test_parts(self):
        """A PUT of a part is refused: it would be taken for the whole."""
        self.assertEqual((await self.put("/blob/a", Content_Range="bytes 0-4/10")).code, 400)
        self.assertEqual(await self.paths(), [])

    async def test_client_leaves(self):
        """Half a body is no file, neither announced nor in chunks."""
        for framing in "Content-Length: 1000000", "Transfer-Encoding: chunked":
            raw = await self.connect()
            raw.send(f"PUT /blob/a HTTP/1.1\r\nHost: here\r\nX-API-Key: {self.key}\r\n{framing}\r\n\r\n".encode())
            raw.send(b"7a120\r\n" + bytes(500_000))
            await self.wait(0.05)
            await self.hang_up(raw)
        self.assertEqual(await self.paths(), [])
        self.assertEqual((await self.put("/blob/a", Content_MD5="new")).code, 201)

    async def test_preconditions_of_any_bytes(self):
        """A precondition whose bytes are no text is refused like any other that does not hold, in words that are."""
        await self.put("/blob/a")
        for name, code in (
            (b"Content-MD5", 412),
            (b"If-Match-Version", 422),
            (b"If-Match", 412),
            (b"If-None-Match", 400),
        ):
            raw = await self.connect()
            raw.send(b"PUT /blob/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n")
            raw.send(b'X-API-Key: %s\r\n%s: "\xff\xfe"\r\n\r\n' % (KEY.encode(), name))
            answer = heard("PUT", await raw.over)
            self.assertEqual(answer.code, code, answer)
            self.assertTrue(answer.json["detail"])
            self.assertTrue(answer.body.isascii())
        self.assertEqual((await self.get("/blob/a")).body, b"hello")
