"""Uploads over HTTP: what is kept, what is checked, and what is refused before its first byte."""

from base64 import b64encode
from dataclasses import replace
from hashlib import md5, sha512

from tests.objects.rooms import QUICK, SMALL
from tests.objects.serving import Serving, etag_of, hash_of, together

CHUNKED = {"Transfer_Encoding": "chunked", "Content_Length": None}
HELLO_CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


def digest_of(data):
    return f"sha-512=:{b64encode(sha512(data).digest()).decode()}:"


class MakingTests(Serving):
    async def test_everything(self):
        """What was said of an object is what the answer shows, and what its readers get."""
        said = {"X_Key": "Ä/b c", "X_Storage_Class": "cold", "X_Meta_Colour": "blaü", "Content_Type": "text/x; a=b"}
        answer = await self.post(X_Tenant="acme", **said)
        self.assertEqual(answer.code, 201, answer.body)
        shown = dict(answer.json)
        for name in ("created_at", "updated_at"):
            self.assertRegex(shown.pop(name), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        object_id = shown.pop("id")
        self.assertEqual(
            shown,
            {
                "namespace": "photos",
                "tenant_id": "acme",
                "key": "Ä/b c",
                "content_hash": hash_of(b"hello"),
                "size_bytes": 5,
                "storage_class": "cold",
                "status": "COMMITTED",
                "content_type": "text/x; a=b",
                "metadata": {"colour": "blaü"},
            },
        )
        self.assertEqual(answer.headers["location"], f"/v1/objects/{object_id}")
        self.assertEqual(answer.etag, etag_of(b"hello"))
        for target in (answer.headers["location"], self.at("%C3%84/b%20c")):
            heard = await self.get(target)
            self.assertEqual((heard.code, heard.body), (200, b"hello"))
            self.assertEqual(heard.headers["x-object-id"], object_id)

    async def test_defaults(self):
        """Nothing said: no key, hot, a stream of octets; and each such object is another."""
        first, second = await self.post(), await self.post()
        self.assertEqual((first.code, second.code), (201, 201))
        self.assertNotEqual(first.json["id"], second.json["id"])
        shown = first.json
        self.assertEqual((shown["key"], shown["storage_class"], shown["metadata"]), (None, "hot", {}))
        self.assertEqual(shown["content_type"], "application/octet-stream")

    async def test_query(self):
        """A query says the same as the headers do, and neither may contradict the other."""
        target = "/v1/objects?namespace=PHOTOS&tenant=acme&key=a%0B&storage_class=cold".replace("%0B", "%2Fb")
        answer = await self.ask("POST", target, b"hello")
        self.assertEqual(answer.code, 201, answer.body)
        shown = answer.json
        found = (shown["namespace"], shown["tenant_id"], shown["key"], shown["storage_class"])
        self.assertEqual(found, ("photos", "acme", "a/b", "cold"))
        for headers in ({"X_Key": "other"}, {"X_Namespace": "other"}, {"X_Tenant": "x"}, {"X_Storage_Class": "hot"}):
            self.assert_error(await self.ask("POST", target, b"hello", **headers), 400, "BAD_REQUEST")
        answer = await self.ask("POST", target + "&tenant_id=globex", b"hello")
        self.assert_error(answer, 400, "BAD_REQUEST")

    async def test_path(self):
        """PUT names the object by its path; a slash in the key may be raw or not, one in the tenant may not."""
        answer = await self.ask("PUT", "/v1/objects/by-key/Photos/acme/a%2Fb/c", b"hello")
        self.assertEqual(answer.code, 201, answer.body)
        self.assertEqual((answer.json["namespace"], answer.json["key"]), ("photos", "a/b/c"))
        again = await self.put("a/b%2fc")
        self.assertEqual((again.code, again.json["id"]), (200, answer.json["id"]))
        answer = await self.ask("PUT", self.at("c", tenant="a%2Fb"), b"hello", caller="everywhere")
        self.assertEqual((answer.json["tenant_id"], answer.json["key"]), ("a/b", "c"))
        heard = await self.ask("GET", self.at("b/c", tenant="a"), caller="everywhere")
        self.assert_error(heard, 404, "OBJECT_NOT_FOUND")

    async def test_bodies(self):
        """Bodies of any length arrive whole, with a length or in chunks, by either way: empty, small and large ones."""
        for number, size in enumerate((0, 1, SMALL, 65_536, 65_537, 3_000_000)):
            body = bytes(range(256)) * (size // 256 + 1)
            body = body[:size]
            answer = await self.put(f"length-{number}", body)
            self.assertEqual((answer.code, answer.json["content_hash"]), (201, hash_of(body)))
            pieces = [body[at : at + 99_999] for at in range(0, size, 99_999)]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            answer = await self.post(chunks, X_Key=f"chunked-{number}", **CHUNKED)
            self.assertEqual((answer.code, answer.json["size_bytes"]), (201, size))
            heard = await self.get(self.at(f"chunked-{number}"))
            self.assertEqual(heard.body, body)

    async def test_length_required(self):
        """An upload that says nothing of its body is no empty object; one whose digest is that of nothing is."""
        for ask in (self.post, self.put):
            answer = await (ask(b"", Content_Length=None) if ask == self.post else ask("k", b"", Content_Length=None))
            self.assert_error(answer, 411, "LENGTH_REQUIRED")
        answer = await self.put("k", b"", Content_Length=None, X_Content_Hash=hash_of(b""))
        self.assertEqual((answer.code, answer.json["size_bytes"]), (201, 0))


class RefusedTests(Serving):
    settings = replace(QUICK, most_bytes=200_000)

    async def test_nonsense(self):
        """What the header shows to be wrong is refused, with its reason, and nothing is made."""
        for headers in (
            {"X_Namespace": None},
            {"X_Namespace": ""},
            {"X_Namespace": "-a"},
            {"X_Namespace": "a" * 65},
            {"X_Namespace": "ä"},
            {"X_Tenant": "a" * 129},
            {"X_Key": ""},
            {"X_Key": "k" * 1025},
            {"X_Storage_Class": "warm"},
            {"Content_Type": "é"},
            {"Content_Type": "a" * 256},
            {"X_Meta_A": "a" * 8193},
            {f"X_Meta_{number}": "a" for number in range(65)},
            {"Content_Digest": "sha-256=abc"},
            {"Content_MD5": "5d41402abc4b2a76b9719d911017c592"},
            {"X_Content_Hash": "sha256:abc"},
            {"If_None_Match": '"x"'},
            {"If_Match": "*"},  # without a key nothing can be there
            {"If_Match": "*", "X_Key": "k", "If_None_Match": "*"},
            {"If_Unmodified_Since": "Thu, 15 Jan 2026 10:30:00 GMT"},
            {"Content_Range": "bytes 0-4/5"},
            {"Content_Encoding": "gzip"},
        ):
            self.assert_error(await self.post(**headers), 400, "BAD_REQUEST")
        for target in ("", "a", "a/b", "a/b/", "/b/c", "a//c", "a/b/%00", "a/%C3/%A4", f"a/b/{'k' * 1025}"):
            answer = await self.ask("PUT", f"/v1/objects/by-key/{target}", b"hello", caller="everywhere")
            if target:
                self.assert_error(answer, 400, "BAD_REQUEST")
            else:  # that is the path of an object by its id
                self.assert_error(answer, 405, "METHOD_NOT_ALLOWED")
        self.assertEqual(await self.objects.database.read(lambda tx: tx.execute("SELECT id FROM object")), [])

    async def test_latin_1(self):
        """Metadata and keys that are not UTF-8 are refused."""
        for name in (b"X-Meta-A", b"X-Key"):
            raw = await self.connect()
            raw.send(
                b"POST /v1/objects HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Namespace: a\r\nContent-Length: 0\r\n"
                b"X-API-Key: acme------------------------------------\r\n" + name + b": bla\xfc\r\n\r\n"
            )
            self.assertIn(b" 400 ", (await raw.over)[:20])

    async def test_before_the_body(self):
        """Who asks first hears the refusal instead of 100, and need not send a byte."""
        for headers, status in (
            ({"X-Namespace": "a", "Content-Length": "200001"}, b"413"),
            ({"X-Namespace": "-", "Content-Length": "9"}, b"400"),
            ({"X-Namespace": "a", "X-Tenant": "globex", "Content-Length": "9"}, b"403"),
        ):
            raw = await self.connect()
            lines = {**headers, "Host": "h", "Expect": "100-continue", "X-API-Key": f"{'acme':-<40}"}
            said = [f"{name}: {value}" for name, value in lines.items()]
            raw.send("\r\n".join(["POST /v1/objects HTTP/1.1", *said, "", ""]).encode())
            heard = await raw.until(b"\r\n\r\n")
            self.assertEqual(heard.split(b" ", 2)[1], status)

    async def test_too_large(self):
        """The limit holds for announced bodies and for those in chunks, and what came of them is gone."""
        self.assert_error(await self.post(b"a" * 200_001), 413, "TOO_LARGE")
        chunks = (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 4 + b"0\r\n\r\n"
        self.assert_error(await self.post(chunks, X_Key="k", **CHUNKED), 413, "TOO_LARGE")
        answer = await self.put("k", b"a" * 200_000)
        self.assertEqual(answer.code, 201, answer.body)


class DigestTests(Serving):
    async def test_right(self):
        """Digests that are right do not matter, however they are said; unknown ones are overlooked."""
        content_md5 = b64encode(md5(b"hello", usedforsecurity=False).digest()).decode()
        said = f"crc32c=:AAAAAA==:, {digest_of(b'hello')}, unixsum=3"
        headers = {"Content_MD5": content_md5, "Content_Digest": said, "X_Content_Hash": hash_of(b"hello").upper()}
        answer = await self.put("k", **headers)
        self.assertEqual(answer.code, 201, answer.body)
        answer = await self.put("chunked", HELLO_CHUNKED, **CHUNKED, **headers)
        self.assertEqual(answer.code, 201, answer.body)

    async def test_wrong(self):
        """A wrong one is 422, and nothing is stored: the key is as free as before, for small and for large bodies."""
        for body in (b"hello", b"hello" * 20_000):
            for headers in (
                {"X_Content_Hash": hash_of(b"other")},
                {"Content_Digest": digest_of(b"other")},
                {"Content_MD5": b64encode(b"0" * 16).decode()},
            ):
                self.assert_error(await self.put("k", body, **headers), 422, "DIGEST_MISMATCH")
        self.assert_error(await self.get(self.at("k")), 404, "OBJECT_NOT_FOUND")
        rows = await self.objects.database.read(lambda tx: tx.execute("SELECT state FROM object"))
        self.assertEqual([row for row in rows if row[0] == "COMMITTED"], [])

    async def test_contradiction(self):
        """Two headers that no bytes could satisfy."""
        wrong = f"sha-256=:{b64encode(bytes(32)).decode()}:"
        answer = await self.put("k", X_Content_Hash=hash_of(b"hello"), Content_Digest=wrong)
        self.assert_error(answer, 422, "DIGEST_MISMATCH")


class TakenTests(Serving):
    async def test_taken(self):
        """A key that is taken: 409, with what is there, unless the bytes are the same."""
        object_id = await self.made("k")
        answer = await self.put("k", b"other")
        self.assert_error(answer, 409, "KEY_TAKEN")
        self.assertEqual(answer.json["error"]["details"]["id"], object_id)
        self.assertEqual(answer.json["error"]["details"]["etag"], etag_of(b"hello"))
        same = await self.put("k", Content_Type="text/other")
        self.assertEqual((same.code, same.json["id"]), (200, object_id))
        self.assertEqual(same.json["content_type"], "application/octet-stream")

    async def test_replace(self):
        """If-Match replaces what is there, and only that; the new object has another id."""
        object_id = await self.made("k")
        for wrong in (etag_of(b"other"), f"W/{etag_of(b'hello')}", '""'):
            self.assert_error(await self.put("k", b"new", If_Match=wrong), 412, "PRECONDITION_FAILED")
        answer = await self.put("k", b"new", If_Match=f'"x", {etag_of(b"hello")}')
        self.assertEqual(answer.code, 201, answer.body)
        self.assertNotEqual(answer.json["id"], object_id)
        self.assertEqual((await self.get(self.at("k"))).body, b"new")
        self.assert_error(await self.get(f"/v1/objects/{object_id}"), 404, "OBJECT_NOT_FOUND")
        self.assertEqual((await self.put("k", b"newer", If_Match="*")).code, 201)
        self.assert_error(await self.put("free", If_Match="*"), 412, "PRECONDITION_FAILED")
        self.assert_error(await self.get(self.at("free")), 404, "OBJECT_NOT_FOUND")

    async def test_absent(self):
        """If-None-Match: * makes, and never finds."""
        self.assertEqual((await self.put("k", If_None_Match="*")).code, 201)
        self.assert_error(await self.put("k", If_None_Match="*"), 412, "PRECONDITION_FAILED")
        self.assertEqual((await self.post(If_None_Match="*")).code, 201)

    async def test_race(self):
        """Of many who create one key with different bytes one wins; of many who replace one state one does."""
        for body in (b"%d", b"%d" * 60_000):
            key = f"k{len(body)}"
            bodies = [body.replace(b"%d", b"%d" % number) for number in range(6)]
            answers = await together([self.put(key, each) for each in bodies])
            self.assertEqual(sorted(each.code for each in answers), [201] + [409] * 5)
            current = (await self.get(self.at(key))).etag
            answers = await together([self.put(key, each + b"!", If_Match=current) for each in bodies])
            codes = sorted(each.code for each in answers)
            self.assertEqual((codes[0], set(codes[1:])), (201, {412}))
            winner = next(each for each in answers if each.code == 201)
            self.assertEqual((await self.get(self.at(key))).etag, winner.etag)


class AdoptTests(Serving):
    async def test_held(self):
        """Who has the bytes may name them instead of sending them, by POST and by PUT, small and large ones."""
        for body in (b"hello", b"hello" * 20_000):
            told = hash_of(body)
            probe = await self.ask("HEAD", f"/v1/blobs/{told}")
            self.assertEqual((probe.code, probe.body), (404, b""))
            self.assert_error(await self.post(b"", X_Content_Hash=told), 404, "CONTENT_NOT_FOUND")
            await self.made(f"first{len(body)}", body)
            probe = await self.ask("HEAD", f"/v1/blobs/{told}")
            self.assertEqual((probe.code, probe.headers["x-content-hash"]), (200, told))
            heard = await self.get(f"/v1/blobs/{told}")
            self.assertEqual(heard.json, {"content_hash": told, "size_bytes": len(body)})
            for headers in ({}, {"Content_Length": None}):
                answer = await self.post(b"", X_Content_Hash=told, X_Storage_Class="cold", **headers)
                self.assertEqual((answer.code, answer.json["storage_class"]), (201, "cold"))
                self.assertEqual((await self.get(answer.headers["location"])).body, body)
            answer = await self.put(f"second{len(body)}", b"", X_Content_Hash=told, Content_Length=None)
            self.assertEqual((answer.code, answer.json["size_bytes"]), (201, len(body)))

    async def test_wishes(self):
        """A key that is taken is taken, whether bytes are sent or named."""
        object_id = await self.made("k")
        await self.made("other", b"other")
        other, hello = hash_of(b"other"), hash_of(b"hello")
        self.assert_error(await self.put("k", b"", X_Content_Hash=other), 409, "KEY_TAKEN")
        same = await self.put("k", b"", X_Content_Hash=hello)
        self.assertEqual((same.code, same.json["id"]), (200, object_id))
        self.assert_error(await self.put("k", b"", X_Content_Hash=other, If_None_Match="*"), 412, "PRECONDITION_FAILED")
        answer = await self.put("k", b"", X_Content_Hash=other, If_Match=etag_of(b"hello"))
        self.assertEqual(answer.code, 201, answer.body)
        self.assertEqual((await self.get(self.at("k"))).body, b"other")

    async def test_other_tenants(self):
        """What others hold cannot be found out, and cannot be had: not even what one has deleted oneself."""
        await self.made("k")
        told = hash_of(b"hello")
        probe = await self.ask("GET", f"/v1/blobs/{told}", caller="globex")
        self.assert_error(probe, 404, "CONTENT_NOT_FOUND")
        answer = await self.post(b"", X_Content_Hash=told, caller="globex")
        self.assert_error(answer, 404, "CONTENT_NOT_FOUND")
        await self.ask("DELETE", self.at("k"))
        self.assert_error(await self.get(f"/v1/blobs/{told}"), 404, "CONTENT_NOT_FOUND")
        self.assert_error(await self.get("/v1/blobs/sha256:12"), 400, "BAD_REQUEST")
        self.assert_error(await self.ask("GET", f"/v1/blobs/{told}", caller="admin"), 400, "BAD_REQUEST")


class TenantTests(Serving):
    async def test_which(self):
        """A credential of one tenant makes its own; one of all tenants must say whose."""
        self.assertEqual((await self.post(caller="globex")).json["tenant_id"], "globex")
        self.assert_error(await self.post(caller="everywhere"), 400, "BAD_REQUEST")
        answer = await self.post(caller="everywhere", X_Tenant="Zürich & co")
        self.assertEqual(answer.json["tenant_id"], "Zürich & co")
        self.assert_error(await self.put("k", X_Tenant="globex"), 400, "BAD_REQUEST")
        self.assertEqual((await self.put("k", X_Tenant="acme")).code, 201)

    async def test_apart(self):
        """One key in two tenants, or two namespaces, is two objects."""
        await self.made("k", b"one")
        await self.made("k", b"two", caller="globex")
        await self.made("k", b"three", X_Namespace="other")
        heard = await self.ask("GET", self.at("k", tenant="globex"), caller="globex")
        self.assertEqual((heard.body, (await self.get(self.at("k"))).body), (b"two", b"one"))
