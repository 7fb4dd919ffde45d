"""The main lines of the API again on PostgreSQL and S3, where other statements and another store answer."""

from tests.objects.rooms import invariants
from tests.objects.serving import Serving, etag_of, hash_of, together

LARGE = bytes(range(256)) * 1000


class ElsewhereTests(Serving):
    backend = "postgresql+s3"

    async def test_life(self):
        """An object is made, read whole and in part, said otherwise, moved, replaced, deleted."""
        for body in (b"", b"hello", LARGE):
            size = len(body)
            key = f"ä/{size}"
            at = self.at(f"%C3%A4/{size}")
            object_id = await self.made(key, body, X_Meta_Colour="blaü", X_Content_Hash=hash_of(body))
            by_id = f"/v1/objects/{object_id}"
            for target in (at, by_id):
                heard = await self.get(target)
                self.assertEqual((heard.code, heard.body, heard.etag), (200, body, etag_of(body)))
                head = await self.ask("HEAD", target)
                self.assertEqual((head.code, head.headers["content-length"]), (200, str(size)))
                part = await self.get(target, Range="bytes=1-3")
                self.assertEqual((part.code, part.body), (206, body[1:4]) if body else (416, part.body))
                self.assertEqual((await self.get(target, If_None_Match=etag_of(body))).code, 304)
            moved = await self.ask("PATCH", by_id, b'{"storage_class":"cold","metadata":{"a":"b"}}')
            self.assertEqual(
                (moved.code, moved.json["storage_class"], moved.json["metadata"]), (200, "cold", {"a": "b"})
            )
            self.assertEqual((await self.get(by_id)).body, body)
            self.assert_error(await self.ask("PUT", at, body + b"!"), 409, "KEY_TAKEN")
            self.assertEqual((await self.ask("PUT", at, body)).json["id"], object_id)
            replaced = await self.ask("PUT", at, body + b"!", If_Match=etag_of(body))
            self.assertEqual((replaced.code, (await self.get(at)).body), (201, body + b"!"))
            self.assertEqual((await self.ask("DELETE", at, If_Match="*")).code, 204)
            self.assert_error(await self.get(at), 404, "OBJECT_NOT_FOUND")
        await invariants(self.objects)

    async def test_checks(self):
        """Wrong digests are 422 and leave nothing; held bytes need not be sent; another's object is not there."""
        self.assert_error(await self.put("k", LARGE, X_Content_Hash=hash_of(b"x")), 422, "DIGEST_MISMATCH")
        object_id = await self.made("k", LARGE)
        self.assertEqual((await self.ask("HEAD", f"/v1/blobs/{hash_of(LARGE)}")).code, 200)
        self.assertEqual((await self.post(b"", X_Content_Hash=hash_of(LARGE))).code, 201)
        self.assertEqual((await self.ask("HEAD", f"/v1/blobs/{hash_of(LARGE)}", caller="globex")).code, 404)
        for method, body in (("GET", b""), ("DELETE", b""), ("PATCH", b'{"storage_class":"cold"}')):
            answer = await self.ask(method, f"/v1/objects/{object_id}", body, caller="globex")
            self.assert_error(answer, 404, "OBJECT_NOT_FOUND")

    async def test_races(self):
        """Of many who create, replace or delete one key at once one does it."""
        for filler in (b"", LARGE):
            bodies = [filler + b"%d" % number for number in range(5)]
            key = f"k{len(filler)}"
            answers = await together([self.put(key, each) for each in bodies])
            self.assertEqual(sorted(each.code for each in answers), [201] + [409] * 4)
            current = (await self.ask("HEAD", self.at(key))).etag
            answers = await together([self.put(key, each + b"!", If_Match=current) for each in bodies])
            self.assertEqual(sorted(each.code for each in answers), [201] + [412] * 4)
            answers = await together([self.ask("DELETE", self.at(key)) for _ in range(5)])
            self.assertEqual(sorted(each.code for each in answers), [204] + [404] * 4)
        await invariants(self.objects)
