"""Reading over HTTP: the whole, parts, conditions, and what keeps a browser from running it."""

import shutil
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

from tests.objects.serving import Serving, etag_of, hash_of

LARGE = bytes(range(256)) * 1000


class ReadingTests(Serving):
    async def test_headers(self):
        """An object has the headers that it was given and those that describe it, by id and by key, with HEAD too."""
        said = {"Content_Type": "text/html", "X_Meta_Colour": "blaü", "X_Storage_Class": "cold"}
        for body in (b"", b"hello", LARGE):
            key = f"k{len(body)}"
            object_id = await self.made(key, body, **said)
            for target in (f"/v1/objects/{object_id}", self.at(key)):
                whole, head = await self.get(target), await self.ask("HEAD", target)
                self.assertEqual((whole.code, whole.body), (200, body))
                self.assertEqual((head.code, head.body), (200, b""))
                for heard in (whole, head):
                    found = heard.headers
                    self.assertEqual(found["content-length"], str(len(body)))
                    self.assertEqual(found["etag"], etag_of(body))
                    self.assertEqual((found["x-object-id"], found["x-content-hash"]), (object_id, hash_of(body)))
                    self.assertEqual((found["content-type"], found["x-storage-class"]), ("text/html", "cold"))
                    self.assertEqual(found["x-meta-colour"].encode("latin-1").decode(), "blaü")
                    self.assertEqual(found["accept-ranges"], "bytes")
                    self.assertTrue(parsedate_to_datetime(found["last-modified"]))
                    self.assertEqual(found["x-content-type-options"], "nosniff")
                    self.assertEqual(found["content-security-policy"], "sandbox; default-src 'none'")
                    self.assertEqual(found["cache-control"], "private, no-cache")

    async def test_head_opens_nothing(self):
        """HEAD, 304, 412 and 416 are answered from what the database knows: they do not miss the file."""
        object_id = await self.made("k", LARGE)
        shutil.rmtree(Path(self.places.folder) / "hot" / "data" / "sha256")
        target = f"/v1/objects/{object_id}"
        for headers in ({}, {"Range": "bytes=0-1"}):
            head = await self.ask("HEAD", target, **headers)
            self.assertEqual((head.code, head.headers["content-length"]), (200, str(len(LARGE))))
        self.assertEqual((await self.get(target, If_None_Match=etag_of(LARGE))).code, 304)
        self.assertEqual((await self.get(target, If_Match='"x"')).code, 412)
        self.assertEqual((await self.get(target, Range=f"bytes={len(LARGE)}-")).code, 416)
        self.assert_error(await self.get(target), 500, "OBJECT_DAMAGED")

    async def test_damage(self):
        """Bytes that changed on the disk are never sent: neither whole nor in part."""
        object_id = await self.made("k", LARGE)
        kept = Path(self.places.folder) / "hot" / "data"
        (file,) = [path for path in (kept / "sha256").rglob("*") if path.is_file()]
        with file.open("r+b") as opened:
            opened.seek(500)
            opened.write(b"wrong")
        for headers in ({"Range": "bytes=0-9"}, {}):
            answer = await self.get(f"/v1/objects/{object_id}", **headers)
            self.assert_error(answer, 500, "OBJECT_DAMAGED")
            self.assertNotIn("content-range", answer.headers)

    async def test_absent(self):
        """What is not there, or was never an id, is 404 with the same words."""
        for target in (
            "/v1/objects/01a1fed3-d764-71be-86a8-463de1718f71",
            "/v1/objects/nonsense",
            "/v1/objects/a/b",
            "/v1/objects/by-key",
            "/v1/objects/by-key/",
            self.at("free"),
        ):
            self.assert_error(await self.get(target), 404, "OBJECT_NOT_FOUND")
            self.assertEqual((await self.ask("HEAD", target)).code, 404)
        self.assert_error(await self.get("/v1/objects/%ff"), 400, "BAD_REQUEST")
        self.assert_error(await self.get("/v1/objects%2Fby-key/photos/acme/k"), 400, "BAD_REQUEST")
        self.assert_error(await self.get(self.at("k") + "?tenant=%ff"), 400, "BAD_REQUEST")

    async def test_narrow(self):
        """A tenant that is said beside an id must be the object's."""
        object_id = await self.made()
        target = f"/v1/objects/{object_id}"
        for tenant, code in (("acme", 200), ("globex", 404), ("", 404)):
            self.assertEqual((await self.get(target, caller="admin", X_Tenant=tenant)).code, code)
            self.assertEqual((await self.get(f"{target}?tenant={tenant}", caller="admin")).code, code)

    async def test_methods(self):
        """An unknown method is told in the one shape, with those that would do."""
        for method, target, allowed in (
            ("POST", self.at("k"), {"DELETE", "GET", "HEAD", "PUT"}),
            ("PUT", "/v1/objects", {"POST"}),
            ("PATCH", "/v1/objects", {"POST"}),
            ("PUT", "/v1/objects/some-id", {"DELETE", "GET", "HEAD", "PATCH"}),
            ("DELETE", f"/v1/blobs/{hash_of(b'')}", {"GET", "HEAD"}),
        ):
            answer = await self.ask(method, target, b"")
            self.assert_error(answer, 405, "METHOD_NOT_ALLOWED")
            self.assertLessEqual(allowed, set(answer.headers["allow"].split(", ")))


class FaultTests(Serving):
    async def test_internals(self):
        """What broke inside is nobody's business: the answer has an id, the log has the rest."""

        async def broken(object_id):
            raise RuntimeError("secret/path")

        self.objects.find = broken
        answer = await self.get("/v1/objects/x", X_Request_Id="r-1")
        self.assert_error(answer, 500, "INTERNAL")
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(answer.json["error"]["details"], {"request_id": "r-1"})
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_away(self):
        """While the database is away the answer says so, and that it may be tried again."""
        object_id = await self.made("k")
        await self.room.real_database.stopService()
        for ask in (self.get(f"/v1/objects/{object_id}"), self.put("k"), self.ask("DELETE", self.at("k"))):
            self.assert_error(await ask, 503, "UNAVAILABLE")


class RangeTests(Serving):
    async def test_parts(self):
        """One range, a suffix, an open one: the bytes and no others; what is none, or several, gives all."""
        for body in (b"hello", LARGE):
            size = len(body)
            target = f"/v1/objects/{await self.made(None, body)}"
            for said, part in (
                ("0-0", slice(0, 1)),
                ("1-3", slice(1, 4)),
                ("2-", slice(2, size)),
                ("-2", slice(size - 2, size)),
                (f"-{size * 2}", slice(0, size)),
                (f"{size - 1}-{size * 9}", slice(size - 1, size)),
            ):
                heard = await self.get(target, Range=f"bytes={said}")
                self.assertEqual((heard.code, heard.body), (206, body[part]), said)
                told = f"bytes {part.start}-{part.stop - 1}/{size}"
                self.assertEqual(heard.headers["content-range"], told)
                self.assertEqual(heard.headers["content-length"], str(part.stop - part.start))
                self.assertEqual(heard.etag, etag_of(body))
            for said in ("bytes=0-1,3-4", "bytes=3-1", "lines=1-2", "bytes=-", "bytes=x-1"):
                heard = await self.get(target, Range=said)
                self.assertEqual((heard.code, heard.body), (200, body), said)
                self.assertNotIn("content-range", heard.headers)

    async def test_beyond(self):
        """Behind the end there is nothing, and in an empty object no range at all."""
        for body in (b"", b"hello", LARGE):
            target, size = f"/v1/objects/{await self.made(None, body)}", len(body)
            for said in (f"{size}-", f"{size}-{size + 1}", "-0", *(["0-", "-5", "0-0"] if not body else [])):
                answer = await self.get(target, Range=f"bytes={said}")
                self.assert_error(answer, 416, "RANGE_NOT_SATISFIABLE")
                self.assertEqual(answer.headers["content-range"], f"bytes */{size}")

    async def test_if_range(self):
        """If-Range: the part when it is still the same, else the whole."""
        target = f"/v1/objects/{await self.made()}"
        modified = (await self.ask("HEAD", target)).headers["last-modified"]
        for said, code in (
            (etag_of(b"hello"), 206),
            (etag_of(b"other"), 200),
            (f"W/{etag_of(b'hello')}", 200),
            (modified, 200),  # so young a date may be that of two objects
            (formatdate(0, usegmt=True), 200),
            ("nonsense", 200),
        ):
            heard = await self.get(target, Range="bytes=1-2", If_Range=said)
            self.assertEqual((heard.code, heard.body), (code, b"el" if code == 206 else b"hello"), said)
        now = self.objects.now
        self.patch(self.objects, "now", lambda: now() + 61_000_000)
        self.assertEqual((await self.get(target, Range="bytes=1-2", If_Range=modified)).code, 206)


class ConditionTests(Serving):
    async def test_replaced(self):
        """Who knows an object by its date hears of one that took its place within the second, now and later."""
        target = "/v1/objects/by-key/photos/acme/k"
        await self.ask("PUT", target, b"hello")
        modified = (await self.ask("HEAD", target)).headers["last-modified"]
        await self.ask("PUT", target, b"other", If_Match="*")
        now = self.objects.now
        for later in (0, 120_000_000):
            self.patch(self.objects, "now", lambda later=later: now() + later)
            heard = await self.get(target, If_Modified_Since=modified)
            self.assertEqual((heard.code, heard.body), (200, b"other"))
            heard = await self.get(target, Range="bytes=2-", If_Range=modified)
            self.assertEqual((heard.code, heard.body), (200, b"other"))

    async def test_unchanged(self):
        """A reader who has it hears 304, with the headers; If-None-Match counts more than a date."""
        target = f"/v1/objects/{await self.made()}"
        modified = (await self.ask("HEAD", target)).headers["last-modified"]
        old, right, wrong = formatdate(0, usegmt=True), etag_of(b"hello"), etag_of(b"x")
        for headers, code in (
            ({"If_None_Match": right}, 304),
            ({"If_None_Match": f'"x", W/{right}'}, 304),
            ({"If_None_Match": "*"}, 304),
            ({"If_None_Match": wrong}, 200),
            ({"If_Modified_Since": modified}, 304),
            ({"If_Modified_Since": old}, 200),
            ({"If_Modified_Since": "nonsense"}, 200),
            ({"If_None_Match": wrong, "If_Modified_Since": modified}, 200),
            ({"If_None_Match": right, "If_Modified_Since": old}, 304),
        ):
            for method in ("GET", "HEAD"):
                heard = await self.ask(method, target, **headers)
                self.assertEqual(heard.code, code, headers)
                self.assertEqual(heard.etag, right)
                self.assertEqual(heard.body, b"hello" if (code, method) == (200, "GET") else b"")

    async def test_another(self):
        """A reader who wants what was there hears 412 when it is another."""
        target = f"/v1/objects/{await self.made()}"
        for headers, code in (
            ({"If_Match": etag_of(b"hello")}, 200),
            ({"If_Match": "*"}, 200),
            ({"If_Match": etag_of(b"x")}, 412),
            ({"If_Match": f"W/{etag_of(b'hello')}"}, 412),
            ({"If_Unmodified_Since": formatdate(0, usegmt=True)}, 412),
            ({"If_Unmodified_Since": formatdate(usegmt=True)}, 200),
        ):
            heard = await self.get(target, Range="bytes=0-0" if code == 412 else None, **headers)
            self.assertEqual(heard.code, code, headers)
            if code == 412:
                self.assert_error(heard, 412, "PRECONDITION_FAILED")

    async def test_browsers(self):
        """A browser that would run the bytes is refused; one that shows or saves them is not."""
        target = f"/v1/objects/{await self.made(None, Content_Type='text/javascript')}"
        for word in ("script", "serviceworker", "worker", "style", "Script", "STYLE"):
            self.assert_error(await self.get(target, Sec_Fetch_Dest=word), 403, "FORBIDDEN")
        for word in ("document", "image", "empty", "video"):
            self.assertEqual((await self.get(target, Sec_Fetch_Dest=word)).code, 200)
