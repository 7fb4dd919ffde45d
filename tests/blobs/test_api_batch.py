import json
from base64 import b64decode, b64encode

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from stor.blobs.api.places import Places
from tests.blobs.serving import KEY, MD5, READER, OnFolder, Serving


class Batch:
    """`POST /batch`: each operation for itself."""

    async def batch(self, *operations, **headers):
        body = json.dumps({"operations": operations}).encode()
        return await self.ask("POST", "/batch", body, **{"Content_Type": "application/json", **headers})

    async def results(self, *operations):
        heard = await self.batch(*operations)
        self.assertEqual(heard.code, 200, heard.body)
        return heard.json["results"]

    async def test_all_kinds(self):
        """A put as base64 and as text, a get, a delete: each as it would have been by itself."""
        await self.put("/blob/c", "schön".encode(), Content_Type="text/plain")
        await self.put("/blob/d")
        put, text, get, gone = await self.results(
            {"op": "put", "path": "a", "content": b64encode(b"\0hello").decode(), "content_type": "image/png"},
            {"op": "put", "path": "b", "content": "hello", "encoding": "text", "if_md5": "new"},
            {"op": "get", "path": "c", "encoding": "text"},
            {"op": "delete", "path": "d", "if_match": f'"{MD5[b"hello"]}"'},
        )
        self.assertEqual([each["status"] for each in (put, text, get, gone)], [201, 201, 200, 204])
        self.assertEqual((get["content"], get["content_type"]), ("schön", "text/plain"))
        self.assertEqual(((await self.get("/blob/a")).body, put["size"]), (b"\0hello", 6))
        self.assertEqual((await self.get("/blob/a")).headers["content-type"], "image/png")
        self.assertEqual((text["md5"], (await self.get("/blob/b")).version), (MD5[b"hello"], text["version"]))
        self.assertEqual((await self.get("/blob/d")).code, 404)

    async def test_refusals(self):
        """What fails says why, with the three keys, and the others are done."""
        await self.put("/blob/a")
        await self.put("/blob/bytes", b"\xff")
        found = await self.results(
            {"op": "put", "path": "a", "content": "", "if_md5": "new"},
            {"op": "put", "path": "a", "content": "", "if_version": 0},
            {"op": "put", "path": "a", "content": "", "if_none_match": "*"},
            {"op": "put", "path": "a", "content": "", "if_match": '"x"'},
            {"op": "put", "path": "../a", "content": ""},
            {"op": "put", "path": "b64", "content": "%"},
            {"op": "get", "path": "none"},
            {"op": "get", "path": "bytes", "encoding": "text"},
            {"op": "delete", "path": "none"},
            {"op": "put", "path": "good", "content": "", "if_none_match": "*"},
        )
        self.assertEqual([each["status"] for each in found], [412] * 4 + [400, 400, 404, 422, 404, 201])
        self.assertEqual(found[0]["context"], {"current_md5": MD5[b"hello"], "provided_md5": "new"})
        self.assertEqual(found[1]["context"]["provided_version"], "0")
        self.assertEqual((found[6]["detail"], found[6]["error_code"]), ("File not found: none", None))
        self.assertEqual((await self.get("/blob/a")).body, b"hello")
        counted = {"op": "put", "status": "4xx"}
        self.assertEqual(self.registry.get_sample_value("stor_blobs_batch_operations_total", counted), 6)

    async def test_order(self):
        """Operations on one path go one after the other, however many other paths there are."""
        steps = [{"op": "put", "path": "one", "content": str(step), "encoding": "text"} for step in range(5)]
        others = [{"op": "put", "path": f"x/{number}", "content": ""} for number in range(60)]
        mixed = [*steps[:2], *others, *steps[2:], {"op": "get", "path": "one", "encoding": "text"}]
        found = await self.results(*mixed)
        self.assertEqual(found[-1]["content"], "4")
        versions = [each["version"] for each in found if each["path"] == "one" and "content" not in each]
        self.assertEqual(versions, sorted(set(versions)))
        self.assertEqual(len(await self.paths("/sync/x")), 60)

    async def test_malformed(self):
        """A body that is no batch is 400, and nothing of it is done."""
        good = {"op": "put", "path": "a", "content": ""}
        for wrong in (
            {"op": "put", "path": "a"},
            {"op": "burn", "path": "a"},
            {"op": "get", "path": "a", "if_md5": "new"},
            {**good, "if_mdfive": "new"},
            {**good, "encoding": "rot13"},
            {**good, "content_type": "a\nb"},
        ):
            self.assertEqual((await self.batch(good, wrong)).code, 400, wrong)
        for body in b"", b"[]", b"{", b'{"operations": 3}', b"\xff", b'{"operations":[{"x":' + b"[" * 100_000:
            self.assertEqual((await self.ask("POST", "/batch", body, Content_Type="application/json")).code, 400)
        self.assertEqual((await self.batch(*[good] * 1001)).code, 400)
        self.assertEqual(await self.paths(), [])

    async def test_bounds(self):
        """413 for a body beyond the limit, and for gets that together bring too much."""
        large = {"op": "put", "path": "a", "content": "x" * (8 << 20), "encoding": "text"}
        self.assertEqual((await self.batch(large)).code, 413)
        await self.put("/blob/five", bytes(5 << 20))
        found = await self.results(*[{"op": "get", "path": "five"}] * 2, {"op": "get", "path": "none"})
        self.assertEqual([each["status"] for each in found], [200, 413, 404])

    async def test_file_bound(self):
        """A put may not bring more than a file may have; the others are done."""
        self.patch(self.api._batch, "_most", 4)
        found = await self.results(
            {"op": "put", "path": "a", "content": "hello", "encoding": "text"},
            {"op": "put", "path": "b", "content": b64encode(b"four").decode()},
        )
        self.assertEqual([each["status"] for each in found], [413, 201])
        self.assertEqual(await self.paths(), ["b"])

    async def test_at_once(self):
        """An answer that nobody reads keeps its place: beyond so many 429, or 503 for others; who leaves makes room."""
        self.patch(self.api._batch, "_places", Places("batches", 1, 1, 7.0))
        await self.put("/blob/five", bytes(5 << 20))
        body = json.dumps({"operations": [{"op": "get", "path": "five"}]})
        lines = "POST /batch HTTP/1.1", "Content-Type: application/json", f"Content-Length: {len(body)}"
        with await self.stuck(*lines) as client:
            await deferToThread(client.sendall, body.encode())
            self.assertIn(b"200 OK", await deferToThread(client.recv, 100))
            for key, code in (KEY, 429), (READER, 503):
                heard = await self.batch(key=key)
                self.assertEqual((heard.code, heard.headers["retry-after"]), (code, "7"))
        await self.until(lambda: not self.api._batch._places)
        found = await self.results({"op": "get", "path": "five"})
        self.assertEqual(b64decode(found[0]["content"]), bytes(5 << 20))
        self.assertEqual(await self.results(), [])

    async def test_left(self):
        """Who leaves in the middle gives the place back, and nothing is wrong with that."""
        await self.put("/blob/a")
        self.patch(self.kept, "get", lambda *_, **__: Deferred())
        body = json.dumps({"operations": [{"op": "get", "path": "a"}]})
        lines = "Host: here", f"X-API-Key: {KEY}", "Content-Type: application/json", f"Content-Length: {len(body)}"
        raw = await self.connect()
        raw.send("\r\n".join(["POST /batch HTTP/1.1", *lines, "", body]).encode())
        await self.until(lambda: self.api._batch._places)
        raw.transport.abortConnection()
        await self.until(lambda: not self.api._batch._places)

    async def test_permissions(self):
        """A reader may read in batches, and nothing is done of a batch with a write."""
        await self.put("/blob/a")
        read, write = {"op": "get", "path": "a"}, {"op": "delete", "path": "a"}
        self.assertEqual((await self.batch(read, key=READER)).code, 200)
        self.assertEqual((await self.batch(read, write, key=READER)).code, 403)
        self.assertEqual((await self.batch(read, key=None)).code, 401)
        self.assertEqual((await self.get("/blob/a")).code, 200)

    async def test_must_be_called_json(self):
        """What a page elsewhere could send without asking is refused."""
        for kind in "text/plain", "application/x-www-form-urlencoded", "application/jsonp":
            self.assertEqual((await self.batch({"op": "get", "path": "a"}, Content_Type=kind)).code, 400)
        charset = await self.batch({"op": "get", "path": "a"}, Content_Type="application/json; charset=utf-8")
        self.assertEqual(charset.code, 200)

    async def test_empty(self):
        """Nothing to do is done."""
        self.assertEqual(await self.results(), [])


class OnFolderTests(Batch, OnFolder, Serving):
    pass
