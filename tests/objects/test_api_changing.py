"""PATCH and DELETE over HTTP."""

import json

from stor.objects import core
from tests.objects.rooms import invariants
from tests.objects.serving import Serving, etag_of, key_of, together

LARGE = b"large" * 50_000


class SlowUploadTests(Serving):
    async def test_key_comes_back(self):
        """Deleting a key that an upload has gives the upload up: the key is free, and its sender is told so."""
        self.patch(core, "EARLY_BYTES", 1000)
        head = (
            f"PUT {self.at('k')} HTTP/1.1\r\nHost: h\r\nX-API-Key: {key_of('acme')}\r\nContent-Length: 150000\r\n\r\n"
        )
        slow = await self.connect()
        slow.send(head.encode() + b"x" * 100_000)
        while (heard := await self.put("k")).code == 201:  # it has not begun yet
            await self.objects.delete(heard.json["id"])
        self.assert_error(heard, 409, "KEY_BEING_WRITTEN")
        for caller, code in (("globex", 404), ("writer", 403)):
            self.assertEqual((await self.ask("DELETE", self.at("k"), caller=caller)).code, code)
        self.assertEqual((await self.ask("DELETE", self.at("k"), If_Match="*")).code, 404)
        self.assertEqual((await self.ask("DELETE", self.at("k"), caller="deleter")).code, 204)
        self.assertEqual((await self.ask("DELETE", self.at("k"))).code, 404)
        slow.send(b"x" * 50_000)
        self.assertIn(b" 503 ", (await slow.until(b"\r\n\r\n"))[:20])
        self.assertEqual((await self.put("k", b"other")).code, 201)
        self.assertEqual((await self.get(self.at("k"))).body, b"other")
        await invariants(self.objects)


class PatchTests(Serving):
    async def patch(self, object_id, /, **headers):
        body = json.dumps(headers.pop("said")).encode()
        return await self.ask("PATCH", f"/v1/objects/{object_id}", body, **headers)

    async def test_said(self):
        """What is said of an object changes, and nothing else: not its id, not its bytes, not what is left out."""
        object_id = await self.made("k", X_Meta_A="1", X_Meta_B="2", Content_Type="text/plain")
        before = (await self.post(b"", X_Content_Hash=etag_of(b"hello").strip('"'), X_Key="k")).json
        answer = await self.patch(object_id, said={"metadata": {"b": "3", "c": "blaü"}})
        self.assertEqual(answer.code, 200, answer.body)
        self.assertEqual(answer.etag, etag_of(b"hello"))
        shown = answer.json
        self.assertGreater(shown["updated_at"], before["updated_at"])
        self.assertEqual(shown, {**before, "metadata": {"b": "3", "c": "blaü"}, "updated_at": shown["updated_at"]})
        answer = await self.patch(object_id, said={"content_type": "text/html", "metadata": None})
        self.assertEqual(answer.json["metadata"], {"b": "3", "c": "blaü"})
        heard = await self.get(self.at("k"))
        self.assertEqual((heard.body, heard.headers["content-type"]), (b"hello", "text/html"))
        self.assertEqual(heard.headers["x-meta-b"], "3")
        self.assertNotIn("x-meta-a", heard.headers)
        answer = await self.patch(object_id, said={"metadata": {}})
        self.assertEqual(answer.json["metadata"], {})

    async def test_move(self):
        """Between hot and cold an object can be read at any time; the bytes go with it."""
        for body in (b"hello", LARGE):
            object_id = await self.made(None, body)
            target = f"/v1/objects/{object_id}"
            for wanted in ("cold", "cold", "hot"):
                answers = await together(
                    [self.patch(object_id, said={"storage_class": wanted}), *(self.get(target) for _ in range(3))]
                )
                self.assertEqual((answers[0].code, answers[0].json["storage_class"]), (200, wanted))
                self.assertEqual([heard.body for heard in answers[1:]], [body] * 3)
                heard = await self.get(target)
                self.assertEqual((heard.body, heard.headers["x-storage-class"]), (body, wanted))

    async def test_condition(self):
        """If-Match is about the bytes, which no PATCH changes."""
        object_id = await self.made()
        for said in ({"content_type": "a/b"}, {"storage_class": "cold"}):
            answer = await self.patch(object_id, said=said, If_Match=etag_of(b"other"))
            self.assert_error(answer, 412, "PRECONDITION_FAILED")
            self.assertEqual((await self.patch(object_id, said=said, If_Match=etag_of(b"hello"))).code, 200)

    async def test_nonsense(self):
        """What cannot be is refused, and nothing of it is done."""
        object_id = await self.made(None, X_Meta_A="1")
        for said in (
            {},
            [],
            None,
            {"key": "other"},
            {"content_type": "é"},
            {"content_type": ""},
            {"content_type": 3},
            {"storage_class": "warm"},
            {"metadata": {"A": "capital"}},
            {"metadata": {"a b": "1"}},
            {"metadata": {"a": "1\r\nx: y"}},
            {"metadata": {"a": "\ud800"}},
            {"metadata": {"a": 1}},
            {"metadata": {"a": "1" * 8192}},
            {"metadata": {"b": "2"}, "content_type": "é"},
        ):
            self.assert_error(await self.patch(object_id, said=said), 400, "BAD_REQUEST")
        for body in (b"", b"{", b'{"metadata": ' * 20_000, b"\xff"):
            code = (await self.ask("PATCH", f"/v1/objects/{object_id}", body)).code
            self.assertIn(code, {400, 413})
        heard = await self.get(f"/v1/objects/{object_id}")
        self.assertEqual((heard.headers["x-meta-a"], heard.headers["x-storage-class"]), ("1", "hot"))
        absent = object_id[:-4] + "0000"
        self.assert_error(await self.patch(absent, said={"content_type": "a/b"}), 404, "OBJECT_NOT_FOUND")


class DeleteTests(Serving):
    async def test_gone(self):
        """204, and nobody sees it any more; again, it is not there; its key is free."""
        for by_key in (False, True):
            object_id = await self.made("k", LARGE if by_key else b"hello")
            by_id, target = f"/v1/objects/{object_id}", self.at("k")
            answer = await self.ask("DELETE", target if by_key else by_id)
            self.assertEqual((answer.code, answer.body), (204, b""))
            for each in (by_id, target):
                self.assert_error(await self.get(each), 404, "OBJECT_NOT_FOUND")
                self.assertEqual((await self.ask("HEAD", each)).code, 404)
                self.assert_error(await self.ask("DELETE", each), 404, "OBJECT_NOT_FOUND")
            answer = await self.ask("PATCH", by_id, b'{"content_type":"a/b"}')
            self.assert_error(answer, 404, "OBJECT_NOT_FOUND")
            self.assert_error(await self.ask("POST", by_id + "/presign"), 404, "OBJECT_NOT_FOUND")
            again = await self.put("k", b"again")
            self.assertEqual(again.code, 201)
            self.assertEqual((await self.ask("DELETE", target)).code, 204)
        await invariants(self.objects)

    async def test_condition(self):
        """If-Match deletes what is meant and nothing else."""
        object_id = await self.made("k")
        for target in (self.at("k"), f"/v1/objects/{object_id}"):
            answer = await self.ask("DELETE", target, If_Match=etag_of(b"other"))
            self.assert_error(answer, 412, "PRECONDITION_FAILED")
        self.assertEqual((await self.ask("DELETE", self.at("k"), If_Match=f"{etag_of(b'hello')}, 'x'")).code, 204)

    async def test_shared(self):
        """Others with the same bytes keep them."""
        first, second = await self.made("k", LARGE), await self.made("k", LARGE, caller="globex")
        self.assertEqual((await self.ask("DELETE", f"/v1/objects/{first}")).code, 204)
        heard = await self.get(f"/v1/objects/{second}", caller="globex")
        self.assertEqual(heard.body, LARGE)

    async def test_while_replaced(self):
        """A key that always has an owner is deleted, whoever replaces it meanwhile: never 404, and 204 only once."""
        await self.made("k")
        puts = [self.put("k", b"%d" % number, If_Match="*") for number in range(8)]
        deleted, *others = await together([self.ask("DELETE", self.at("k")), *puts])
        self.assertEqual(deleted.code, 204)
        self.assertLessEqual({each.code for each in others}, {201, 412})
        await invariants(self.objects)

    async def test_replaced_in_between(self):
        """Who finds an object by its key, and then not any more, looks again: the key has another owner."""
        await self.made("k")
        delete = self.objects.delete

        async def late(object_id, match):
            self.objects.delete = delete
            await self.put("k", b"new", If_Match="*")
            await delete(object_id, match)

        self.objects.delete = late
        self.assertEqual((await self.ask("DELETE", self.at("k"))).code, 204)
        self.assert_error(await self.get(self.at("k")), 404, "OBJECT_NOT_FOUND")
        await invariants(self.objects)

    async def test_twice_at_once(self):
        """Of many who delete one object one did it."""
        for target in ("id", "key"):
            object_id = await self.made("k")
            path = f"/v1/objects/{object_id}" if target == "id" else self.at("k")
            answers = await together([self.ask("DELETE", path) for _ in range(5)])
            self.assertEqual(sorted(each.code for each in answers), [204] + [404] * 4)
