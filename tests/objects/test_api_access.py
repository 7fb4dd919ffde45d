"""Who may do what: every caller on every route, in the own tenant and in another's, as one table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from twisted.internet import reactor

from stor.objects.api.listing import ListingApi
from stor.objects.api.quotas import QuotasApi
from stor.objects.api.searching import SearchingApi
from stor.objects.api.usage import UsageApi
from stor.objects.quotas import Quota, put
from tests.objects.serving import hash_of
from tests.objects.uploading import PIECE, Uploading

R, W, D, A = "read", "write", "delete", "admin"
BOTH = {"acme", "globex"}
HOLDS = {  # caller -> what it may do, and in which tenants
    None: (set(), set()),
    "stranger": (set(), {"acme"}),
    "reader": ({R}, {"acme"}),
    "writer": ({W}, {"acme"}),
    "deleter": ({D}, {"acme"}),
    "acme": ({R, W, D}, {"acme"}),
    "globex": ({R, W, D}, {"globex"}),
    "admin-acme": ({R, W, D, A}, {"acme"}),
    "nobodys": ({R, W, D, A}, set()),
    "everywhere": ({R, W, D}, BOTH),
    "admin": ({R, W, D, A}, BOTH),
}


@dataclass(frozen=True)
class Case:
    """One way to ask for a rule: what it needs, the status of success, and the status of what is another tenant's.

    In `target`, `body` and the values of `headers` stand $tenant, $id and $key of an object, $upload and $new, a key
    that is free. `whole`: only for who is of no tenant.
    """

    rule: str
    needs: str
    good: int
    foreign: int
    target: str
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False

    @property
    def method(self):
        return self.rule.partition(" ")[0]

    def expected(self, caller, tenant):
        """Say what becomes of a call."""
        holds, reach = HOLDS[caller]
        if not self.needs:
            return self.good
        if caller is None:
            return 401
        if not set(self.needs.split()) <= holds or not reach or (self.whole and reach != BOTH):
            return 403
        return self.good if tenant in reach else self.foreign


KEY, ID, UPLOAD, QUOTA = (
    "/v1/objects/by-key/photos/$tenant/",
    "/v1/objects/$id",
    "/v1/uploads/$upload",
    "/v1/quotas/$tenant",
)
BY_KEY, BY_ID = "/v1/objects/by-key/<path:name>", "/v1/objects/<path:object_id>"
BY_UPLOAD, BY_TENANT = "/v1/uploads/<path:upload_id>", "/v1/quotas/<path:tenant>"
PRESIGN, BLOBS = "/v1/objects/<object_id>/presign", "/v1/blobs/<digest>"
WHOSE, PUT = {"X_Tenant": "$tenant"}, '{"method":"PUT"}'
TUS = {"Tus_Resumable": "1.0.0"}
CASES = [
    Case("POST /v1/objects", W, 201, 403, "/v1/objects?namespace=photos&key=$new", "new", WHOSE),
    Case("POST /v1/objects", W, 201, 403, "/v1/objects?namespace=photos&tenant_id=$tenant", "new"),
    Case(f"PUT {BY_KEY}", W, 201, 403, KEY + "$new", "new"),
    Case(f"GET {BY_KEY}", R, 200, 404, KEY + "$key"),
    Case(f"HEAD {BY_KEY}", R, 200, 404, KEY + "$key"),
    Case(f"GET {BY_ID}", R, 200, 404, ID),
    Case(f"GET {BY_ID}", R, 206, 404, ID, headers={"Range": "bytes=0-1"}),
    Case(f"HEAD {BY_ID}", R, 200, 404, ID),
    Case("PATCH /v1/objects/<object_id>", W, 200, 404, ID, '{"content_type":"a/b"}'),
    Case(f"DELETE {BY_KEY}", D, 204, 404, KEY + "$key"),
    Case(f"DELETE {BY_ID}", D, 204, 404, ID),
    Case(f"GET {BLOBS}", R, 200, 403, f"/v1/blobs/{hash_of(b'hello')}", headers=WHOSE),
    Case(f"HEAD {BLOBS}", R, 200, 403, f"/v1/blobs/{hash_of(b'hello')}", headers=WHOSE),
    Case(f"POST {PRESIGN}", R, 200, 404, ID + "/presign"),
    Case(f"POST {PRESIGN}", f"{R} {W}", 200, 404, ID + "/presign", PUT),
    Case("GET /v1/objects", R, 200, 403, "/v1/objects?tenant=$tenant"),
    Case("GET /v1/objects", R, 200, 403, "/v1/objects?format=ndjson", headers=WHOSE),
    Case("POST /v1/objects/search", R, 200, 403, "/v1/objects/search", '{"tenant":"$tenant"}'),
    Case("GET /v1/usage", R, 200, 403, "/v1/usage?tenant_id=$tenant"),
    Case("GET /v1/quotas", R, 200, 403, "/v1/quotas?tenant=$tenant"),
    Case(f"GET {BY_TENANT}", R, 200, 403, QUOTA),
    Case(f"PUT {BY_TENANT}", A, 200, 403, QUOTA, "{}", whole=True),
    Case(f"DELETE {BY_TENANT}", A, 204, 403, QUOTA, whole=True),
    Case("OPTIONS /v1/uploads", "", 204, 204, "/v1/uploads"),
    Case(f"OPTIONS {BY_UPLOAD}", "", 204, 204, UPLOAD),
    Case("POST /v1/uploads", W, 201, 403, "/v1/uploads?namespace=photos", "", {**TUS, **WHOSE, "Upload_Length": "9"}),
    Case(f"PATCH {BY_UPLOAD}", W, 204, 404, UPLOAD, "piece", {**TUS, "Content_Type": PIECE, "Upload_Offset": "0"}),
    Case(f"GET {BY_UPLOAD}", W, 200, 404, UPLOAD, headers=TUS),
    Case(f"HEAD {BY_UPLOAD}", W, 200, 404, UPLOAD, headers=TUS),
    Case(f"DELETE {BY_UPLOAD}", W, 204, 404, UPLOAD, headers=TUS),
]
TABLES = ("object", "object_quota", "object_upload", "object_upload_part")


class MatrixTests(Uploading):
    def parts(self):
        mine = [ListingApi(self.objects), SearchingApi(self.objects), UsageApi(self.objects, reactor)]
        return [*mine, QuotasApi(self.objects), *super().parts()]

    def test_complete(self):
        """The table speaks of each route that there is."""
        routes = {f"{route.method} {route.rule}" for route in self.api.routes()}
        self.assertEqual(routes, {case.rule for case in CASES if case.method != "HEAD"})

    async def test_matrix(self):
        """Who may not is refused, in the one shape of errors, and changes nothing; who may is served."""
        for case in CASES:
            for tenant in ("acme", "globex"):
                said, allowed = await self.prepared(tenant, case.target), []
                before = await self.everything()
                for caller in HOLDS:
                    status = case.expected(caller, tenant)
                    if status == case.good:
                        allowed.append(caller)
                        continue
                    answer = await self.ask_case(case, caller, said)
                    self.assertEqual(answer.code, status, (case.rule, caller, tenant, answer.body))
                    if case.method != "HEAD":
                        self.assertEqual(set(answer.json["error"]), {"code", "message", "details"})
                self.assertEqual(await self.everything(), before, (case.rule, tenant))
                self.assertTrue(allowed)
                for caller in allowed:
                    said = await self.prepared(tenant, case.target)
                    answer = await self.ask_case(case, caller, said)
                    self.assertEqual(answer.code, case.good, (case.rule, caller, tenant, answer.body))

    async def test_presigned(self):
        """A presigned URL is good for its own method and path; on every other route its query is no credential."""
        for tenant in ("acme", "globex"):
            said = await self.prepared(tenant)
            for body, good in (("", f"GET {BY_ID}"), (PUT, f"PUT {BY_KEY}")):
                target = filled(ID + "/presign", said)
                signed = await self.ask("POST", target, body.encode(), caller=tenant)
                path, _, query = signed.json["url"].partition("?")
                for case in CASES:
                    if not case.needs or "X_Tenant" in case.headers:
                        continue
                    target = filled(case.target, {**said, "new": said["key"]}).partition("?")[0]
                    answer = await self.ask_case(case, None, said, f"{target}?{query}")
                    status = 401
                    if (case.rule, target) == (good, path):
                        status = case.good if body == "" else 403
                    self.assertEqual(answer.code, status, (case.rule, good, answer.body))

    async def test_alike(self):
        """What is another's cannot be told from what is not there: the same status, headers and words."""
        object_id = await self.made("k", caller="globex")
        absent = object_id[:-6] + "000000"
        for method in ("GET", "HEAD", "PATCH", "DELETE"):
            body = b'{"content_type":"a/b"}' if method == "PATCH" else b""
            answers = []
            for which in (object_id, absent):
                answer = await self.ask(method, f"/v1/objects/{which}", body, Range="bytes=0-1", If_Match='"x"')
                headers = {
                    name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}
                }
                text = answer.body.replace(which.encode(), b"ID").replace(answer.headers["x-request-id"].encode(), b"R")
                answers.append((answer.code, headers, text))
            self.assertEqual(*answers)
            self.assertEqual(answers[0][0], 404)

    async def test_alike_whatever_is_said(self):
        """Whatever a call says of tenants, whether another's object is there cannot be told from the answer."""
        object_id = await self.made("k", caller="globex")
        absent = object_id[:-6] + "000000"
        words = [("?tenant=acme&tenant_id=globex", {}), ("?tenant=globex", WHOSE | {"X_Tenant": "acme"}), ("?%ff", {})]
        words += [("", {"X_Tenant": tenant}) for tenant in ("acme", "globex", "", "\t")]
        for method, end, body in (
            ("GET", "", b""),
            ("HEAD", "", b""),
            ("DELETE", "", b""),
            ("PATCH", "", b'{"content_type":"a/b"}'),
            ("POST", "/presign", b""),
        ):
            for query, headers in words:
                for caller in ("acme", "nobodys"):
                    codes = {
                        (await self.ask(method, f"/v1/objects/{each}{end}{query}", body, caller=caller, **headers)).code
                        for each in (object_id, absent)
                    }
                    self.assertEqual(len(codes), 1, (method, query, headers, caller, codes))
                    self.assertLessEqual(codes, {400, 403, 404})
                    self.assertTrue(caller == "acme" or codes == {403}, (method, query, headers, codes))

    async def prepared(self, tenant, target=UPLOAD):
        """Make an object and a quota of this tenant, and an upload where it is asked for, and give their names."""
        key = uuid4().hex
        object_id = await self.made(key, caller=tenant)
        upload = (await self.begun("5", caller=tenant)).rpartition("/")[2] if target == UPLOAD else ""
        await self.objects.database.write(lambda tx: put(tx, Quota(tenant, None, 10_000)))
        return {"tenant": tenant, "key": key, "id": object_id, "upload": upload}

    async def ask_case(self, case, caller, said, target=None):
        said = {**said, "new": uuid4().hex}
        headers = {name: filled(value, said) for name, value in case.headers.items()}
        target = target or filled(case.target, said)
        return await self.ask(case.method, target, filled(case.body, said).encode(), caller=caller, **headers)

    async def everything(self):
        """Give all rows that a call could change."""
        reads = [f"SELECT * FROM {table} ORDER BY 1, 2" for table in TABLES]  # noqa: S608 - names of our own
        return await self.objects.database.read(lambda tx: [tx.execute(read) for read in reads])


def filled(text, said):
    """Put names into a text."""
    for name, value in said.items():
        text = text.replace(f"${name}", value)
    return text
