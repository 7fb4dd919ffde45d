import json
from urllib.parse import quote

from msgspec.json import encode
from twisted.internet import reactor
from twisted.internet.task import deferLater

from stor.objects import listing, walking
from stor.objects.api.listing import ListingApi
from stor.objects.cursors import Place, Position, mark_of, write
from stor.objects.records import State
from stor.objects.searching import Query
from tests.objects.serving import Serving, hash_of
from tests.objects.tables import add, made

TARGET = "/v1/objects"


class Listed(Serving):
    """A site with objects that can be listed."""

    def parts(self):
        return [ListingApi(self.objects)]

    async def fill(self, *there):
        """Put objects without bytes into the tables."""
        await self.objects.database.write(lambda tx: add(tx, self.objects.kind, *there))

    async def list(self, query="", /, **headers):
        """Give the answer's JSON, which must be good."""
        answer = await self.get(f"{TARGET}{query}", **headers)
        self.assertEqual(answer.code, 200, answer.body)
        return answer.json

    async def keys(self, query="", /, **headers):
        """Give the keys of a page."""
        return [each["key"] for each in (await self.list(query, **headers))["objects"]]

    async def follow(self, query="?", /, **headers):
        """Give all pages."""
        pages = [await self.list(query, **headers)]
        while cursor := pages[-1]["next_cursor"]:
            pages.append(await self.list(f"{query}&cursor={cursor}", **headers))
        return pages


class ListingTests(Listed):
    async def test_shown(self):
        """A listing shows an object as its upload did."""
        said = (await self.put("2026/cat.jpg", b"meow", X_Meta_Colour="black", Content_Type="image/jpeg")).json
        self.assertEqual(said["content_hash"], hash_of(b"meow"))
        page = await self.list("?namespace=PHOTOS&prefix=2026/&content_type=image/jpeg&status=COMMITTED")
        self.assertEqual(page, {"objects": [said], "common_prefixes": [], "next_cursor": None})
        for other in ("?namespace=docs", "?prefix=2027", "?content_type=image/png", "?status=DELETED"):
            self.assertEqual((await self.list(other))["objects"], [], other)

    async def test_read_your_writes(self):
        """What was uploaded is listed from then on, until it is deleted; then it is listed as such."""
        object_id = await self.made("k")
        self.assertEqual([each["id"] for each in (await self.list())["objects"]], [object_id])
        await self.ask("DELETE", f"/v1/objects/{object_id}")
        self.assertEqual((await self.list())["objects"], [])
        (gone,) = (await self.list("?status=DELETING"))["objects"]
        self.assertEqual((gone["id"], gone["status"]), (object_id, "DELETING"))

    async def test_pages(self):
        """50 are a page when nothing is said, and pages together are all of them, once."""
        await self.fill(*(made(key=f"{number:03}", size=number % 7, at=number * 31 % 17) for number in range(120)))
        for order, value in (("key", "key"), ("created_at", "created_at"), ("size", "size_bytes")):
            pages = await self.follow(f"?order={order}")
            self.assertEqual([len(page["objects"]) for page in pages], [50, 50, 20])
            found = [each for page in pages for each in page["objects"]]
            self.assertEqual(len({each["id"] for each in found}), 120)
            self.assertEqual([each[value] for each in found], sorted(each[value] for each in found))
        pages = await self.follow("?limit=1000")
        self.assertEqual([len(page["objects"]) for page in pages], [120])

    async def test_delimiter(self):
        """Keys are folded at the first delimiter behind the prefix, as in S3."""
        await self.fill(*(made(key=key) for key in ("a", "b/1", "b/2", "b/c/3", "b/d", "é/x")))
        page = await self.list("?delimiter=/")
        self.assertEqual([each["key"] for each in page["objects"]], ["a"])
        self.assertEqual(page["common_prefixes"], ["b/", "é/"])
        page = await self.list("?delimiter=/&prefix=b/&namespace=photos")
        self.assertEqual([each["key"] for each in page["objects"]], ["b/1", "b/2", "b/d"])
        self.assertEqual(page["common_prefixes"], ["b/c/"])
        pages = await self.follow("?delimiter=/&limit=1")
        self.assertEqual([page["common_prefixes"] for page in pages], [[], ["b/"], ["é/"]])

    async def test_delimiter_seeks(self):
        """A group of thousands costs as little as one of two: it is leapt over."""
        await self.fill(*(made(key=f"{group}/{number:04}") for group in "abc" for number in range(3000)))
        self.patch(listing, "_PAGE_ROWS", 200)
        page = await self.list("?delimiter=/")
        self.assertEqual((page["common_prefixes"], page["next_cursor"]), (["a/", "b/", "c/"], None))

    async def test_tenants(self):
        """A credential of one tenant lists its own and no other's; one of all lists all, in order, or who it names."""
        await self.fill(*(made(tenant, space, "k") for tenant in ("acme", "globex") for space in ("docs", "photos")))
        whose = [(each["tenant_id"], each["namespace"]) for each in (await self.list(caller="admin"))["objects"]]
        self.assertEqual(whose, [(tenant, space) for tenant in ("acme", "globex") for space in ("docs", "photos")])
        for caller, query, expected in (
            ("acme", "", {"acme"}),
            ("reader", "?tenant=acme", {"acme"}),
            ("everywhere", "?tenant_id=globex", {"globex"}),
            ("admin-acme", "", {"acme"}),
            ("admin", "?tenant=nobody", set()),
        ):
            found = await self.list(query, caller=caller)
            self.assertEqual({each["tenant_id"] for each in found["objects"]}, expected, caller)
        in_docs = (await self.list("?namespace=docs&limit=1", caller="admin"))["objects"]
        self.assertEqual([each["tenant_id"] for each in in_docs], ["acme"])

    async def test_refused_tenants(self):
        """To name another tenant is forbidden, and so is to list without the permission."""
        for caller, query, status, code in (
            ("acme", "?tenant=globex", 403, "FORBIDDEN"),
            ("acme", "?tenant_id=globex", 403, "FORBIDDEN"),
            ("writer", "", 403, "FORBIDDEN"),
            ("stranger", "", 403, "FORBIDDEN"),
            ("nobodys", "", 403, "FORBIDDEN"),
            (None, "", 401, "UNAUTHORIZED"),
        ):
            self.assert_error(await self.get(f"{TARGET}{query}", caller=caller), status, code)

    async def test_nonsense(self):
        """What makes no sense is 400 in the one shape, never 500, and never overlooked."""
        for query in (
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=%D9%A1",
            "order=name",
            "order=KEY",
            "status=GONE",
            "namespace=no%20name",
            "namespace=",
            "tenant=",
            "prefix=%00",
            "delimiter=%0A",
            f"prefix={'x' * 1025}",
            "content_type=",
            "content_type=%00",
            "format=xml",
            "delimiter=/&order=size",
            "delimiter=/&status=DELETED",
            "order=key&status=WRITING",
        ):
            self.assert_error(await self.get(f"{TARGET}?{query}"), 400, "BAD_REQUEST")

    async def test_cursors(self):
        """A cursor is of its query alone, and of anything else 400: whatever a client makes of it."""
        await self.fill(*(made(key=key) for key in "abc"), made("globex", key="secret"))
        cursor = (await self.list("?limit=1"))["next_cursor"]
        self.assertEqual(await self.keys(f"?limit=2&cursor={cursor}"), ["b", "c"])
        queries = ["prefix=a", "order=size", "namespace=photos", "status=DELETED", "content_type=x", "delimiter=/"]
        for query in queries:
            self.assert_error(await self.get(f"{TARGET}?{query}&cursor={cursor}"), 400, "INVALID_CURSOR")
        for caller in ("globex", "admin"):
            refused = await self.get(f"{TARGET}?cursor={cursor}", caller=caller)
            self.assert_error(refused, 400, "INVALID_CURSOR")
        for text in ("", "x", cursor[:-1], cursor + "=", cursor + "A", "é", "AAAA", "bnVsbA", "x" * 9000, cursor * 2):
            answer = await self.get(f"{TARGET}?cursor={quote(text)}")
            self.assert_error(answer, 400, "INVALID_CURSOR")

    async def test_forged_cursors(self):
        """Who makes a cursor of its own gets 400, or what it may see anyway."""
        await self.fill(*(made(key=key) for key in "abc"), made("globex", key="secret"))
        query = Query("acme")
        for place in (
            None,
            Place("a\0", ""),
            Place(2**63, "x"),
            Place(-1, "x"),
            Place(10**40, "x"),
            Place(5, "x"),
            Place("a", "x\0"),
            Place("\ufffe" * 300, "x"),
            Place("", None),
        ):
            for scope in (("globex", "photos"), ("", ""), ("acme", "photos"), ("x\0", "photos")):
                forged = write(Position(*scope, place), mark_of(query))
                answer = await self.get(f"{TARGET}?cursor={forged}")
                self.assertIn(answer.code, {200, 400}, answer.body)
                if answer.code == 200:
                    self.assertLessEqual({each["tenant_id"] for each in answer.json["objects"]}, {"acme"})
        self.assertEqual(json.loads(encode(query))["tenant"], "acme")  # or the mark would not tell tenants apart

    async def test_unsettled(self):
        """Uploads under way and what was deleted can be looked at, by tenant."""
        there = [made(key=f"{state}{n}", state=state, changed=9 - n) for state in State for n in range(3)]
        await self.fill(*there, made("globex", state=State.DELETED))
        for state in (State.WRITING, State.DELETING, State.DELETED):
            pages = await self.follow(f"?status={state}&limit=2")
            found = [each["key"] for page in pages for each in page["objects"]]
            self.assertEqual(found, [f"{state}{n}" for n in (2, 1, 0)])

    async def test_head(self):
        """HEAD says as much as GET does without its body."""
        await self.made("k")
        answer = await self.ask("HEAD", TARGET)
        self.assertEqual((answer.code, answer.body), (200, b""))
        self.assertEqual(answer.headers["content-length"], str(len((await self.get(TARGET)).body)))
        self.assertEqual((await self.ask("HEAD", f"{TARGET}?format=ndjson")).code, 200)


class LinesTests(Listed):
    async def test_lines(self):
        """As lines come all objects, as they are shown in pages, by header or by query."""
        await self.fill(*(made(key=f"{number:04}") for number in range(1234)))
        expected = [each for page in await self.follow("?limit=1000") for each in page["objects"]]
        by_header = await self.get(TARGET, Accept="application/json, application/x-ndjson;q=0.9")
        by_query = await self.get(f"{TARGET}?format=ndjson&limit=3")
        for answer in (by_header, by_query):
            self.assertEqual((answer.code, answer.headers["content-type"]), (200, "application/x-ndjson"))
            self.assertTrue(answer.body.endswith(b"\n"))
            self.assertEqual([json.loads(line) for line in answer.body.splitlines()], expected)
        cursor = (await self.list("?limit=1000"))["next_cursor"]
        rest = await self.get(f"{TARGET}?format=ndjson&cursor={cursor}")
        self.assertEqual([json.loads(line) for line in rest.body.splitlines()], expected[1000:])

    async def test_groups(self):
        """Folded keys are lines of their own."""
        await self.fill(*(made(key=key) for key in ("a/1", "a/2", "b")))
        lines = [json.loads(line) for line in (await self.get(f"{TARGET}?format=ndjson&delimiter=/")).body.splitlines()]
        self.assertEqual([line.get("key") or line for line in lines], ["b", {"common_prefix": "a/"}])

    async def test_nothing(self):
        """Nothing is no line; what is refused is refused before the first one."""
        answer = await self.get(f"{TARGET}?format=ndjson")
        self.assertEqual((answer.code, answer.body), (200, b""))
        self.assert_error(await self.get(f"{TARGET}?format=ndjson&cursor=x"), 400, "INVALID_CURSOR")

    async def test_long_waits(self):
        """Where nothing fits for many pages, the lines come all the same."""
        there = [made(key=f"{n:04}", content_type="image/png" if n % 500 == 499 else "text/plain") for n in range(3000)]
        await self.fill(*there)
        self.patch(listing, "_PAGE_ROWS", 50)
        self.patch(walking, "WINDOW", 100)
        lines = (await self.get(f"{TARGET}?format=ndjson&content_type=image/png")).body.splitlines()
        self.assertEqual([json.loads(line)["key"] for line in lines], [f"{n:04}" for n in range(499, 3000, 500)])

    async def test_pace(self):
        """Who reads nothing makes us read next to nothing; who leaves ends it."""
        much = {"much": "x" * 8000}
        await self.fill(*(made(key=f"{number:05}", metadata=much) for number in range(6000)))
        read, database = [], self.objects.database

        class Counted:
            async def browse(self, work, asker):
                read.append(1)
                return await database.browse(work, asker)

        self.objects.database = Counted()
        raw = await self.connect()
        raw.transport.pauseProducing()
        raw.send(f"GET {TARGET}?format=ndjson HTTP/1.1\r\nHost: h\r\nX-API-Key: {'acme':-<40}\r\n\r\n".encode())
        await self.until_still(read)
        self.assertLess(len(read), 60)  # of 400: what the sockets and our buffer hold
        raw.transport.abortConnection()
        await raw.over
        await self.until_still(read)
        self.assertLess(len(read), 62)

    async def until_still(self, read):
        """Wait until no more is read."""
        seen = -1
        while seen != len(read) or not read:
            seen = len(read)
            await deferLater(reactor, 0.3)


class PostgresListingTests(ListingTests):
    backend = "postgresql+folder"
