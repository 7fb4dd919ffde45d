"""Resumable uploads, rule by rule, over a real site."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import (
    BadRequest,
    Conflict,
    Failed,
    Full,
    Missing,
    PreconditionFailed,
    StorError,
    TooLarge,
    Unavailable,
    Unprocessable,
)
from stor.objects.api.uploads_headers import planned
from stor.objects.resumable.rules import (
    Doubtful,
    checksum_of,
    copy_name,
    damaged,
    is_final,
    kept,
    overtaken,
    place_of,
    recalled,
)
from stor.web.call import Call
from tests.objects.serving import hash_of
from tests.objects.upload_deeds import at_rest
from tests.objects.uploading import PIECE, Uploading, checksum, words


class CoreTests(Uploading):
    async def test_pieces(self):
        """Pieces in order make an object; each answer says how far it is, the last one names what came of it."""
        target = await self.begun(11, "a/b")
        first = await self.patch(target, 0, b"hello")
        self.assertEqual((first.code, first.headers["upload-offset"], first.body), (204, "5", b""))
        self.assertIn("upload-expires", first.headers)
        self.assertNotIn("x-object-id", first.headers)
        second = await self.patch(target, 5, b" ")
        self.assertEqual((second.code, second.headers["upload-offset"]), (204, "6"))
        last = await self.patch(target, 6, b"world")
        self.assertEqual((last.code, last.headers["upload-offset"]), (204, "11"))
        self.assertNotIn("upload-expires", last.headers)
        self.assertEqual(last.headers["x-content-hash"], hash_of(b"hello world"))
        self.assertEqual(await self.bytes_of(last), b"hello world")
        self.assertEqual((await self.get(self.at("a/b"))).body, b"hello world")
        self.assertEqual(await self.rows("object_upload_part"), 0)
        await at_rest(self.objects)

    async def test_one_piece(self):
        """What comes whole is an object at once, and no part is kept."""
        target = await self.begun(5)
        answer = await self.patch(target, 0, b"hello")
        self.assertEqual(await self.bytes_of(answer), b"hello")
        self.assertEqual((await self.files(), await self.rows("object_doomed")), ([], 0))

    async def test_large_piece(self):
        """What is too large for that is kept as a part first; the object is the same."""
        self.change(direct_bytes=1000)
        body = bytes(range(256)) * 4096  # 1 MiB
        target = await self.begun(len(body))
        answer = await self.patch(target, 0, body)
        self.assertEqual(await self.bytes_of(answer), body)
        self.assertEqual(await self.rows("object_doomed"), 1)
        await at_rest(self.objects)

    async def test_head(self):
        """HEAD tells all of it, and nobody may keep that."""
        metadata = words(filename="cat.jpg") + ",draft"
        target = await self.begun(9, Upload_Metadata=metadata)
        await self.patch(target, 0, b"1234")
        answer = await self.head(target)
        self.assertEqual(answer.code, 200)
        told = {name: answer.headers.get(name) for name in ("upload-offset", "upload-length", "upload-metadata")}
        self.assertEqual(told, {"upload-offset": "4", "upload-length": "9", "upload-metadata": metadata})
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["tus-resumable"], "1.0.0")
        self.assertTrue(answer.headers["upload-expires"].endswith(" GMT"))

    async def test_wrong_offset(self):
        """A piece for another offset is 409, and changes nothing."""
        target = await self.begun(9)
        await self.patch(target, 0, b"1234")
        for start in (0, 3, 5, 9):
            self.assert_error(await self.patch(target, start, b"5"), 409, "UPLOAD_OFFSET")
        self.assertEqual(await self.offset(target), 4)

    async def test_too_much(self):
        """More bytes than the length leaves room for are refused whole, announced or not."""
        target = await self.begun(9)
        await self.patch(target, 0, b"1234")
        self.assert_error(await self.patch(target, 4, b"567890"), 413, "UPLOAD_TOO_LONG")
        chunks = {"Transfer_Encoding": "chunked", "Content_Length": None}
        self.assert_error(await self.patch(target, 4, b"6\r\n567890\r\n0\r\n\r\n", **chunks), 413, "UPLOAD_TOO_LONG")
        self.assertEqual(await self.offset(target), 4)
        self.assertEqual((await self.patch(target, 4, b"5\r\n56789\r\n0\r\n\r\n", **chunks)).code, 204)

    async def test_empty_piece(self):
        """A piece of nothing is no error, before the end and after it."""
        target = await self.begun(4)
        self.assertEqual((await self.patch(target, 0)).headers["upload-offset"], "0")
        done = await self.patch(target, 0, b"1234")
        again = await self.patch(target, 4)
        self.assertEqual((again.code, again.headers["x-object-id"]), (204, done.headers["x-object-id"]))
        self.assert_error(await self.patch(target, 4, b"5"), 413, "UPLOAD_TOO_LONG")
        self.assert_error(await self.patch(target, 0, b"1234"), 409, "UPLOAD_OFFSET")
        self.assertEqual(await at_rest(self.objects), 1)

    async def test_most_parts(self):
        """An upload has a bounded number of parts."""
        self.change(most_parts=2)
        target = await self.begun(9)
        for start in range(2):
            self.assertEqual((await self.patch(target, start, b"x")).code, 204)
        self.assert_error(await self.patch(target, 2, b"x"), 400, "TOO_MANY_PARTS")
        self.assertEqual(await self.offset(target), 2)

    async def test_json(self):
        """GET tells where the upload is, and what object it became, as long as that is there."""
        target = await self.begun(4, "k", Upload_Metadata=words(colour="blau"), X_Storage_Class="cold")
        open_now = await self.status(target)
        self.assertEqual(
            [open_now[name] for name in ("status", "key", "size_bytes", "received_bytes", "object", "object_id")],
            ["OPEN", "k", 4, 0, None, None],
        )
        done = await self.patch(target, 0, b"1234")
        found = await self.status(target)
        self.assertEqual((found["status"], found["content_hash"]), ("DONE", hash_of(b"1234")))
        self.assertEqual(found["object"]["id"], done.headers["x-object-id"])
        self.assertEqual(found["object"]["metadata"], {"colour": "blau"})
        self.assertEqual(found["object"]["storage_class"], "cold")
        await self.ask("DELETE", f"/v1/objects/{found['object_id']}")
        self.assertIsNone((await self.status(target))["object"])

    async def test_terminated(self):
        """DELETE forgets an upload and dooms its bytes; an object that it became stays."""
        target = await self.begun(9)
        await self.patch(target, 0, b"1234")
        self.assertEqual((await self.tus("DELETE", target)).code, 204)
        self.assertEqual((await self.head(target)).code, 404)
        self.assert_error(await self.patch(target, 4, b"5"), 404, "UPLOAD_NOT_FOUND")
        self.assert_error(await self.tus("DELETE", target), 404, "UPLOAD_NOT_FOUND")
        self.assertEqual((await self.rows("object_upload_part"), await self.rows("object_doomed")), (0, 1))
        target = await self.begun(4)
        done = await self.patch(target, 0, b"1234")
        self.assertEqual((await self.tus("DELETE", target)).code, 204)
        self.assertEqual(await self.bytes_of(done), b"1234")

    async def test_options(self):
        """Anybody may ask what is understood here; OPTIONS needs no version."""
        for target in ("/v1/uploads", "/v1/uploads/x"):
            answer = await self.ask("OPTIONS", target, caller=None)
            self.assertEqual((answer.code, answer.headers["tus-version"]), (204, "1.0.0"))
            self.assertEqual(
                set(answer.headers["tus-extension"].split(",")),
                {
                    "creation",
                    "creation-with-upload",
                    "creation-defer-length",
                    "checksum",
                    "expiration",
                    "termination",
                },
            )
            self.assertEqual(answer.headers["tus-max-size"], str(10 << 30))
            self.assertIn("sha1", answer.headers["tus-checksum-algorithm"].split(","))

    async def test_version(self):
        """Another version is 412 with ours, and nothing happens; each answer says the version."""
        target = await self.begun(4)
        said = {"Upload_Offset": 0, "Content_Type": PIECE, "Upload_Length": 4, "X_Namespace": "photos"}
        for version in ("0.2.2", "1.0.1", None):
            for method, where in (("POST", "/v1/uploads"), ("PATCH", target), ("HEAD", target), ("DELETE", target)):
                answer = await self.ask(method, where, **said, Tus_Resumable=version)
                self.assertEqual((method, answer.code, answer.headers["tus-version"]), (method, 412, "1.0.0"))
        self.assertEqual((await self.offset(target), await self.rows("object_upload")), (0, 1))
        for answer in (await self.head("/v1/uploads/x"), await self.patch(target, 7), await self.tus("DELETE", target)):
            self.assertEqual(answer.headers["tus-resumable"], "1.0.0")
        unknown = await self.tus("HEAD", target, caller=None)
        self.assertEqual((unknown.code, unknown.headers["tus-resumable"]), (401, "1.0.0"))

    async def test_type(self):
        """A piece has the protocol's type; 415."""
        target = await self.begun(4)
        for kind in ("text/plain", None):
            self.assert_error(await self.patch(target, 0, b"1234", Content_Type=kind), 415, "UNSUPPORTED_TYPE")
        self.assert_error(
            await self.begin(b"1234", Upload_Length=4, Content_Type="text/plain"), 415, "UNSUPPORTED_TYPE"
        )


class CreationTests(Uploading):
    async def test_nothing(self):
        """An upload of no bytes is an object when it is made."""
        answer = await self.begin(Upload_Length=0, X_Key="empty")
        self.assertEqual((answer.code, answer.headers["upload-offset"]), (201, "0"))
        self.assertEqual(await self.bytes_of(answer), b"")
        self.assertEqual((await self.status(answer.headers["location"]))["status"], "DONE")

    async def test_with_upload(self):
        """The first piece may come with the creation; when it is all, there is an object."""
        part = await self.begin(b"hello", Upload_Length=9)
        self.assertEqual((part.code, part.headers["upload-offset"]), (201, "5"))
        self.assertIn("upload-expires", part.headers)
        done = await self.patch(part.headers["location"], 5, b"abcd")
        self.assertEqual(await self.bytes_of(done), b"helloabcd")
        whole = await self.begin(b"hello", Upload_Length=5)
        self.assertEqual((whole.code, await self.bytes_of(whole)), (201, b"hello"))
        self.assert_error(await self.begin(b"hello", Upload_Length=4), 413, "UPLOAD_TOO_LONG")

    async def test_length_later(self):
        """The length may be said with any piece, once."""
        made = await self.begin(Upload_Defer_Length="1")
        target = made.headers["location"]
        await self.patch(target, 0, b"hello")
        answer = await self.head(target)
        self.assertEqual(answer.headers["upload-defer-length"], "1")
        self.assertNotIn("upload-length", answer.headers)
        self.assert_error(await self.patch(target, 5, b"", Upload_Length=4), 413, "UPLOAD_TOO_LONG")
        self.assertEqual((await self.patch(target, 5, b"a", Upload_Length=7)).code, 204)
        answer = await self.head(target)
        self.assertEqual(answer.headers["upload-length"], "7")
        self.assertNotIn("upload-defer-length", answer.headers)
        self.assert_error(await self.patch(target, 6, b"b", Upload_Length=8), 400, "UPLOAD_LENGTH")
        done = await self.patch(target, 6, b"b", Upload_Length=7)
        self.assertEqual(await self.bytes_of(done), b"helloab")

    async def test_length_last(self):
        """The length may come when there is nothing more to send, for nothing at all too."""
        for body in (b"hello", b""):
            target = (await self.begin(Upload_Defer_Length="1")).headers["location"]
            await self.patch(target, 0, body)
            done = await self.patch(target, len(body), Upload_Length=len(body))
            self.assertEqual((done.code, await self.bytes_of(done)), (204, body))

    async def test_lengths(self):
        """A creation says its length in one way; what is no number, or too many bytes, is refused."""
        for said in (
            {},
            {"Upload_Length": 4, "Upload_Defer_Length": "1"},
            {"Upload_Defer_Length": "2"},
            {"Upload_Length": "-1"},
            {"Upload_Length": "4 4"},
            {"Upload_Length": "0x4"},
            {"Upload_Length": "٤"},
            {"Upload_Length": "9" * 30},
            {"Upload_Length": 4, "Upload_Concat": "partial"},
        ):
            self.assert_error(await self.begin(**said), 400, "BAD_REQUEST")
        self.assert_error(await self.begin(Upload_Length=(10 << 30) + 1), 413, "TOO_LARGE")
        self.assertEqual(await self.rows("object_upload"), 0)

    async def test_metadata(self):
        """Upload-Metadata says what headers say; the rest of it is the object's metadata, where it can be."""
        metadata = words(
            namespace="Photos",
            tenant="acme",
            key="ä/b",
            storage_class="cold",
            filetype="image/jpeg",
            FileName="cät.jpg",
            binary=b"\xff\x00",
            spaces=" x ",
        )
        answer = await self.begin(b"1", Upload_Length=1, X_Namespace=None, Upload_Metadata=metadata + ",flag,a/b eA==")
        self.assertEqual(answer.code, 201, answer.body)
        found = (await self.status(answer.headers["location"]))["object"]
        self.assertEqual((found["namespace"], found["tenant_id"], found["key"]), ("photos", "acme", "ä/b"))
        self.assertEqual((found["storage_class"], found["content_type"]), ("cold", "image/jpeg"))
        self.assertEqual(found["metadata"], {"filename": "cät.jpg", "flag": ""})

    async def test_metadata_and_headers(self):
        """Headers add to Upload-Metadata; where they say something else the upload is refused."""
        answer = await self.begin(
            Upload_Length=0, X_Meta_Size="s", Upload_Metadata=words(key="k", content_type="text/css", filetype="a/b")
        )
        found = (await self.status(answer.headers["location"]))["object"]
        self.assertEqual((found["key"], found["content_type"], found["metadata"]), ("k", "text/css", {"size": "s"}))
        for said in (
            words(namespace="other"),
            words(key="k2") + "," + words(key="k2"),
            "key !!",
            ",",
            "a b c",
            "ä YQ==",
        ):
            answer = await self.begin(Upload_Length=0, X_Key="k1", Upload_Metadata=said)
            self.assert_error(answer, 400, "BAD_REQUEST")
        self.assert_error(await self.begin(Upload_Length=1, Upload_Metadata=words(tenant="globex")), 403, "FORBIDDEN")

    async def test_taken_key(self):
        """A taken key is told at the beginning where no bytes could be the same, otherwise at the end."""
        await self.made("k", b"hello")
        self.assert_error(await self.begin(Upload_Length=6, X_Key="k"), 409, "KEY_TAKEN")
        answer = await self.begin(Upload_Length=5, X_Key="k", If_None_Match="*")
        self.assert_error(answer, 412, "PRECONDITION_FAILED")
        same = await self.patch(await self.begun(5, "k"), 0, b"hello")
        self.assertEqual((same.code, await self.bytes_of(same)), (204, b"hello"))
        self.assertEqual(await at_rest(self.objects), 1)
        other = await self.begun(5, "k")
        self.assert_error(await self.patch(other, 0, b"world"), 409, "KEY_TAKEN")
        self.assertEqual((await self.head(other)).code, 409)  # a client must not take it for done
        self.assertEqual((await self.status(other))["status"], "FAILED")
        self.assertEqual((await self.status(other))["error"]["code"], "KEY_TAKEN")

    async def test_key_taken_meanwhile(self):
        """Of several uploads for a key the first one to end has it; parts of the others stay until they are removed."""
        targets = [await self.begun(4, "k") for _ in range(2)]
        for target in targets:
            await self.patch(target, 0, b"12")
        self.assertEqual((await self.patch(targets[0], 2, b"34")).code, 204)
        self.assert_error(await self.patch(targets[1], 2, b"xx"), 409, "KEY_TAKEN")
        self.assertEqual((await self.rows("object_upload_part"), await self.rows("object_doomed")), (2, 2))
        await self.tus("DELETE", targets[1])
        self.assertEqual((await self.rows("object_upload_part"), await self.rows("object_doomed")), (0, 4))
        await at_rest(self.objects)

    async def test_replaced(self):
        """If-Match replaces what the key has, at the end."""
        await self.made("k", b"hello")
        self.assert_error(
            await self.begin(Upload_Length=9, X_Key="k", If_Match='"sha256:00"'), 412, "PRECONDITION_FAILED"
        )
        target = await self.begun(9, "k", If_Match=f'"{hash_of(b"hello")}"')
        await self.patch(target, 0, b"good")
        self.assertEqual((await self.get(self.at("k"))).body, b"hello")
        await self.patch(target, 4, b"night")
        self.assertEqual((await self.get(self.at("k"))).body, b"goodnight")
        await at_rest(self.objects)

    async def test_whole_digest(self):
        """X-Content-Hash is of the whole; when that is another, there is no object."""
        target = await self.begun(4, X_Content_Hash=hash_of(b"1234"))
        await self.patch(target, 0, b"12")
        self.assertEqual((await self.patch(target, 2, b"34")).code, 204)
        target = await self.begun(4, X_Content_Hash=hash_of(b"1234"))
        await self.patch(target, 0, b"12")
        self.assert_error(await self.patch(target, 2, b"35"), 422, "DIGEST_MISMATCH")
        self.assertEqual((await self.head(target)).code, 422)
        self.assertEqual(await at_rest(self.objects), 1)

    async def test_most(self):
        """A tenant has a bounded number of unfinished uploads; finished ones do not count."""
        self.change(most=2)
        targets = [await self.begun(4) for _ in range(2)]
        answer = await self.begin(Upload_Length=4)
        self.assert_error(answer, 429, "TOO_MANY_REQUESTS")
        self.assertIn("retry-after", answer.headers)
        self.assertEqual((await self.begin(Upload_Length=4, caller="globex")).code, 201)
        self.assertEqual((await self.begin(b"1234", Upload_Length=4)).code, 201)  # never unfinished
        self.assert_error(await self.begin(b"123", Upload_Length=4), 429, "TOO_MANY_REQUESTS")
        await self.patch(targets[0], 0, b"1234")
        self.assertEqual((await self.begin(Upload_Length=4)).code, 201)

    async def test_quota(self):
        """What is announced counts as used; an upload of unknown length is stopped where the quota ends."""
        sql = "INSERT INTO object_quota (tenant, bytes, objects) VALUES ('acme', 10, 3)"
        await self.objects.database.write(lambda tx: tx.execute(sql))
        self.assert_error(await self.begin(Upload_Length=11), 413, "QUOTA_EXCEEDED")
        first = await self.begun(6)
        self.assert_error(await self.begin(Upload_Length=5), 507, "QUOTA_EXCEEDED")
        later = (await self.begin(Upload_Defer_Length="1")).headers["location"]
        self.assertEqual((await self.patch(later, 0, b"1234")).code, 204)
        self.assert_error(await self.patch(later, 4, b"5"), 507, "QUOTA_EXCEEDED")
        await self.patch(first, 0, b"123456")
        self.assertEqual((await self.patch(later, 4, Upload_Length=4)).code, 204)
        self.assert_error(await self.begin(Upload_Length=1), 507, "QUOTA_EXCEEDED")
        await at_rest(self.objects)

    async def test_quota_of_failed(self):
        """Parts that are kept of an upload that failed count as used, until it is removed."""
        sql = "INSERT INTO object_quota (tenant, bytes) VALUES ('acme', 10)"
        await self.objects.database.write(lambda tx: tx.execute(sql))
        target = await self.begun(6, X_Content_Hash=hash_of(b"other"))
        await self.patch(target, 0, b"123")
        self.assert_error(await self.patch(target, 3, b"456"), 422, "DIGEST_MISMATCH")
        self.assert_error(await self.begin(Upload_Length=5), 507, "QUOTA_EXCEEDED")
        await self.tus("DELETE", target)
        self.assertEqual((await self.begin(Upload_Length=5)).code, 201)


class ChecksumTests(Uploading):
    async def test_right(self):
        """A piece with its checksum is kept, by any algorithm that is offered."""
        answer = await self.ask("OPTIONS", "/v1/uploads")
        algorithms = answer.headers["tus-checksum-algorithm"].split(",")
        target = await self.begun(len(algorithms) * 3)
        for at, algorithm in enumerate(algorithms):
            kept_ = await self.patch(target, at * 3, b"abc", Upload_Checksum=checksum(algorithm, b"abc"))
            self.assertEqual(kept_.code, 204, kept_.body)
        self.assertEqual(await self.bytes_of(kept_), b"abc" * len(algorithms))

    async def test_wrong(self):
        """A piece with another checksum is 460, and nothing of it is kept; it can be sent again."""
        target = await self.begun(6)
        wrong = checksum("sha1", b"abd")
        answer = await self.patch(target, 0, b"abc", Upload_Checksum=wrong)
        self.assert_error(answer, 460, "CHECKSUM_MISMATCH")
        self.assertEqual(answer.headers["tus-resumable"], "1.0.0")
        self.assertEqual(await self.offset(target), 0)
        self.assertEqual(await self.files(), [])
        self.assertEqual((await self.patch(target, 0, b"abc", Upload_Checksum=checksum("sha1", b"abc"))).code, 204)
        whole = await self.begin(b"abc", Upload_Length=3, Upload_Checksum=wrong)
        self.assert_error(whole, 460, "CHECKSUM_MISMATCH")
        self.assertEqual((await self.rows("object_upload"), await at_rest(self.objects)), (1, 0))

    async def test_unknown(self):
        """An algorithm that is not offered, and what is no digest, is 400."""
        target = await self.begun(3)
        for header in ("crc32 AAAAAA==", "SHA1 AAAA", "sha1", "sha1 AAAA", "sha1 ***", "", "shake_128 AAAA"):
            answer = await self.patch(target, 0, b"abc", Upload_Checksum=header)
            self.assertEqual((header, answer.code), (header, 400))
        self.assertEqual(await self.offset(target), 0)


class TenantTests(Uploading):
    async def test_foreign(self):
        """Another tenant's upload is not there, whatever is asked; a credential of all tenants sees it."""
        target = await self.begun(4)
        for caller, more in (("globex", {}), ("everywhere", {"X_Tenant": "globex"}), ("acme", {"X_Tenant": "globex"})):
            said = {"caller": caller} | more
            self.assertEqual((await self.head(target, **said)).code, 404)
            self.assert_error(await self.get(target, **said), 404, "UPLOAD_NOT_FOUND")
            self.assert_error(await self.patch(target, 0, b"1234", **said), 404, "UPLOAD_NOT_FOUND")
            self.assert_error(await self.tus("DELETE", target, **said), 404, "UPLOAD_NOT_FOUND")
        for caller in ("acme", "writer", "everywhere", "admin", "admin-acme"):
            self.assertEqual((await self.head(target, caller=caller)).code, 200)

    async def test_permission(self):
        """It needs objects:write."""
        target = await self.begun(4)
        for caller, code in (("reader", 403), ("deleter", 403), ("stranger", 403), ("nobodys", 403), (None, 401)):
            for method, where in (("POST", "/v1/uploads"), ("PATCH", target), ("HEAD", target), ("DELETE", target)):
                said = {"Upload_Offset": 0, "Content_Type": PIECE, "Upload_Length": 4, "X_Namespace": "photos"}
                answer = await self.tus(method, where, caller=caller, **said)
                self.assertEqual((caller, method, answer.code), (caller, method, code))

    async def test_which(self):
        """A credential of all tenants says which one; another one's is forbidden."""
        self.assert_error(await self.begin(Upload_Length=4, caller="everywhere"), 400, "BAD_REQUEST")
        self.assert_error(await self.begin(Upload_Length=4, X_Tenant="globex"), 403, "FORBIDDEN")
        target = await self.begun(4, caller="everywhere", X_Tenant="acme")
        self.assertEqual((await self.patch(target, 0, b"1234")).code, 204)


class HostileTests(Uploading):
    async def test_headers(self):
        """Nothing that a header can hold is an error of ours, and nothing is stored by it."""
        target = await self.begun(4)
        junk = ("", " ", "\x7f", "ä", "\xff\xfe", "9" * 40, "1e3", "+1", "key \xff", "a" * 9000, "%00", "sha1 ä")
        for name in ("Upload-Length", "Upload-Metadata", "Upload-Offset", "Upload-Checksum", "X-Key", "X-Tenant"):
            for value in junk:
                for method, where in (("POST", "/v1/uploads"), ("PATCH", target), ("HEAD", target)):
                    said = {"Upload_Offset": 0, "Content_Type": PIECE, "X_Namespace": "photos"}
                    said |= {"Upload_Length": 9} if method == "POST" else {}
                    answer = await self.tus(method, where, **said | {name.replace("-", "_"): value})
                    self.assertLess(answer.code, 500, (method, name, value))
        self.assertEqual(await self.offset(target), 0)

    async def test_targets(self):
        """What is no id is no upload."""
        for name in ("x", "%00", "..", "a/b", "%ff", "0" * 36, "'--", "A" * 5000):
            for method in ("HEAD", "PATCH", "DELETE"):
                answer = await self.tus(method, f"/v1/uploads/{name}", Upload_Offset=0, Content_Type=PIECE)
                self.assertIn(answer.code, {400, 404}, name)


class RuleTests(SynchronousTestCase):
    @given(st.dictionaries(st.text(), st.binary()), st.binary())
    def test_any_metadata(self, pairs, key):
        """Whatever Upload-Metadata is, it is a draft or a BadRequest."""
        header = words(key=key, **pairs).encode("utf-8", "surrogateescape")
        call = Call("POST", b"/v1/uploads", {b"upload-metadata": header, b"x-namespace": b"n"})
        try:
            made = planned(call)
        except StorError as why:
            self.assertNotIsInstance(why, Failed)
        else:
            self.assertEqual(made.name.key.encode(), key)

    def test_errors_are_remembered(self):
        """An error that was written down is the same again; what time can mend stays such."""
        for why in (
            Conflict("taken", code="KEY_TAKEN", context={"id": "x"}),
            TooLarge("much", code="QUOTA_EXCEEDED"),
            Failed("lost"),
            Full("full"),
            BadRequest("no"),
        ):
            again = recalled(kept(why))
            self.assertEqual((type(again), str(again), again.code), (type(why), str(why), why.code))
            self.assertEqual((again.context, is_final(again)), (why.context, is_final(why)))
        self.assertFalse(is_final(recalled(kept(Unavailable("away", 3.0)))))

    def test_final(self):
        """Only what the bytes or the key have decided is for ever."""
        for why in (
            Conflict("taken", code="KEY_TAKEN"),
            PreconditionFailed("another"),
            Unprocessable("other bytes", code="DIGEST_MISMATCH"),
            TooLarge("more than all", code="QUOTA_EXCEEDED"),
            damaged(7),
        ):
            self.assertTrue(is_final(why), why)
        for why in (
            Conflict("later", code="KEY_BEING_WRITTEN"),
            Full("used up", code="QUOTA_EXCEEDED"),
            TooLarge("more bytes than the bucket takes"),
            Failed("the storage answered 400 ExpiredToken"),
            Missing("no such key"),
            BadRequest("of the store"),
            Doubtful(7),
            overtaken(),
        ):
            self.assertFalse(is_final(why), why)

    @given(st.uuids(), st.integers(0, 10 << 30))
    def test_names(self, upload_id, offset):
        """The name of a part says where it belongs, and is never used twice."""
        name = copy_name(str(upload_id), offset)
        self.assertEqual(place_of(name), (str(upload_id), offset))
        self.assertNotEqual(name, copy_name(str(upload_id), offset))
        self.assertIsNone(place_of(f"{name}/x"))

    @given(st.text())
    def test_any_checksum(self, header):
        """Whatever Upload-Checksum is, it is a digest or a BadRequest."""
        try:
            found = checksum_of(header)
        except BadRequest:
            return
        self.assertIn(found.algorithm, {"sha1", "md5", "sha256", "sha512"})

    def test_checksum(self):
        """A checksum is kept in hex."""
        self.assertEqual(checksum_of(checksum("sha256", b"a")).digest, sha256(b"a").hexdigest())
