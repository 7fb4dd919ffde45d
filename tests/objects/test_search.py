import json

from stor.objects.api.searching import SearchingApi
from stor.objects.records import StorageClass
from tests.objects.serving import Serving
from tests.objects.tables import add, made

TARGET = "/v1/objects/search"
MILLION = 1_000_000
NEW_YEAR = 1_767_225_600 * MILLION  # 2026-01-01T00:00:00Z


class SearchTests(Serving):
    def parts(self):
        return [SearchingApi(self.objects)]

    async def fill(self, *there):
        await self.objects.database.write(lambda tx: add(tx, self.objects.kind, *there))

    async def post_search(self, /, body, **headers):
        """Send a body as it is, or as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", TARGET, data, **headers)

    async def search(self, caller="", /, **wanted):
        """Give the objects of a page, which must be good."""
        answer = await self.post_search(wanted, caller=caller)
        self.assertEqual(answer.code, 200, answer.body)
        self.assertEqual(set(answer.json), {"objects", "common_prefixes", "next_cursor"})
        return answer.json["objects"]

    async def keys(self, caller="", /, **wanted):
        """Give their keys."""
        return [each["key"] for each in await self.search(caller, **wanted)]

    async def test_filters(self):
        """Each filter finds what it says, and several find what fits all of them."""
        await self.fill(
            made(key="a%b", size=10, at=NEW_YEAR, metadata={"colour": "black", "x-1": "é'\"?", "$x": "1", "a.b": "2"}),
            made(key="A_b", size=20, at=NEW_YEAR + 1, content_type="image/png", storage_class=StorageClass.COLD),
            made(key="ab", size=30, at=NEW_YEAR + MILLION, changed=NEW_YEAR + 9 * MILLION, metadata={"colour": "red"}),
            made(namespace="docs", key="ab", size=40, at=NEW_YEAR, metadata={"colour": "black"}),
        )
        for wanted, expected in (
            ({}, ["ab", "A_b", "a%b", "ab"]),
            ({"namespace": "PHOTOS", "key_contains": "b"}, ["A_b", "a%b", "ab"]),
            ({"key_contains": "%"}, ["a%b"]),
            ({"key_contains": "A"}, ["A_b"]),
            ({"content_type": "image/png"}, ["A_b"]),
            ({"storage_class": "cold"}, ["A_b"]),
            ({"size": {"min": 20, "max": 30}}, ["A_b", "ab"]),
            ({"size": {"max": 10}}, ["a%b"]),
            ({"created": {"after": "2026-01-01T00:00:00Z"}}, ["A_b", "ab"]),
            ({"created": {"before": "2026-01-01T01:00:00.000001+01:00"}, "namespace": "photos"}, ["a%b"]),
            (
                {"created": {"after": "2025-12-31T23:59:59.999999", "before": "2026-01-01T00:00:01Z"}},
                ["ab", "A_b", "a%b"],
            ),
            ({"updated": {"after": "2026-01-01T00:00:05Z"}}, ["ab"]),
            ({"metadata": {"colour": "black"}}, ["ab", "a%b"]),
            ({"metadata": {"colour": "black", "x-1": "é'\"?"}}, ["a%b"]),
            ({"metadata": {"colour": "blac"}}, []),
            ({"metadata": {"none": ""}}, []),
            ({"metadata": {"$x": "1"}}, ["a%b"]),
            ({"metadata": {"a.b": "2"}}, ["a%b"]),
            ({"metadata": {"$.colour": "black"}}, []),
            ({"metadata": {"$": "black"}}, []),
            ({"metadata": {"0": "black"}}, []),
            ({"namespace": "photos", "metadata": {"colour": "black"}, "size": {"min": 5}}, ["a%b"]),
            ({"namespace": "nowhere"}, []),
        ):
            self.assertEqual(await self.keys(**wanted), expected, wanted)

    async def test_sorted_pages(self):
        """Every order goes up and down, page by page, each object once."""
        await self.fill(*(made(key=f"{n:02}", size=n % 4, at=n * 7 % 10, metadata={"m": "x"}) for n in range(30)))
        for sort, field in (("key", "key"), ("size", "size_bytes"), ("created_at", "created_at")):
            for descending in (False, True):
                wanted = {"sort": sort, "descending": descending, "limit": 7, "metadata": {"m": "x"}}
                pages = [(await self.post_search(wanted)).json]
                while cursor := pages[-1]["next_cursor"]:
                    pages.append((await self.post_search(wanted | {"cursor": cursor})).json)
                found = [each for page in pages for each in page["objects"]]
                self.assertEqual([len(page["objects"]) for page in pages], [7, 7, 7, 7, 2])
                self.assertEqual(len({each["id"] for each in found}), 30)
                values = [each[field] for each in found]
                self.assertEqual(values, sorted(values, reverse=descending))

    async def test_tenants(self):
        """A credential of one tenant finds its own; one of all finds all, or those of whom it names in any place."""
        await self.fill(made("acme", key="a"), made("globex", key="g"))
        self.assertEqual(await self.keys(), ["a"])
        self.assertEqual(await self.keys("everywhere"), ["a", "g"])
        self.assertEqual(await self.keys("everywhere", tenant="globex"), ["g"])
        self.assertEqual(await self.keys("everywhere", tenant_id="globex"), ["g"])
        self.assertEqual(await self.keys(tenant="acme"), ["a"])
        by_header = await self.post_search({}, caller="everywhere", X_Tenant="globex")
        self.assertEqual([each["key"] for each in by_header.json["objects"]], ["g"])
        self.assert_error(await self.post_search({"tenant": "globex"}), 403, "FORBIDDEN")
        self.assert_error(await self.post_search({}, caller="writer"), 403, "FORBIDDEN")
        for wanted in ({"tenant": "acme"}, {"tenant": "globex", "tenant_id": "acme"}):
            refused = await self.post_search(wanted, caller="everywhere", X_Tenant="globex")
            self.assert_error(refused, 400, "BAD_REQUEST")

    async def test_nonsense(self):
        """What makes no sense is 400, never 500."""
        for body in (
            b"",
            b"x",
            b"[]",
            b"\xff",
            b"[" * 60_000,
            {"unknown": 1},
            {"size": {"least": 1}},
            {"size": {"min": -1}},
            {"size": {"max": 2**63 - 1}},
            {"size": {"max": 10**30}},
            {"size": 5},
            {"limit": 0},
            {"limit": 1001},
            {"limit": "5"},
            {"sort": "name"},
            {"storage_class": "warm"},
            {"created": {"after": "yesterday"}},
            {"created": {"since": "2026-01-01T00:00:00Z"}},
            {"key_contains": "\0"},
            {"key_contains": "x" * 1025},
            {"content_type": ""},
            {"metadata": {"COLOUR": "x"}},
            {"metadata": {'a"b': "x"}},
            {"metadata": {"colour": "\0"}},
            {"metadata": {"colour": 5}},
            {"metadata": {f"m{n}": "" for n in range(65)}},
            {"namespace": "no name"},
            {"tenant": ""},
            b'{"key_contains":"\\ud800"}',
        ):
            self.assert_error(await self.post_search(body), 400, "BAD_REQUEST")
        for cursor in ("", "x", "A" * 10_000, "é"):
            self.assert_error(await self.post_search({"cursor": cursor}), 400, "INVALID_CURSOR")

    async def test_far_times(self):
        """Times beyond all objects are no fault."""
        await self.fill(made(key="k", at=NEW_YEAR))
        self.assertEqual(await self.keys(created={"after": "0001-01-01T00:00:00Z"}), ["k"])
        self.assertEqual(await self.keys(created={"before": "9999-12-31T23:59:59.999999Z"}, sort="created_at"), ["k"])
        self.assertEqual(await self.keys(size={"max": 2**63 - 2}, sort="size", descending=True), ["k"])


class PostgresSearchTests(SearchTests):
    backend = "postgresql+folder"
