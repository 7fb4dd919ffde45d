"""A site with resumable uploads, and a client for them that shows every word."""

from base64 import b64encode
from dataclasses import replace
from hashlib import new

from twisted.internet import reactor
from twisted.internet.task import deferLater

from stor.objects.api.uploads import UploadsApi
from stor.objects.resumable.service import Settings, Uploads
from tests.objects.serving import Serving, key_of

SETTINGS = Settings(patience=5.0)
PIECE = "application/offset+octet-stream"


def words(**said):
    """Give Upload-Metadata."""
    pairs = ((name, value if isinstance(value, bytes) else value.encode()) for name, value in said.items())
    return ",".join(f"{name} {b64encode(value).decode()}" for name, value in pairs)


def checksum(algorithm, data):
    """Give Upload-Checksum."""
    return f"{algorithm} {b64encode(new(algorithm, data).digest()).decode()}"


class Uploading(Serving):
    """Serves uploads; `of_uploads` are their settings."""

    of_uploads = SETTINGS

    def parts(self):
        self.uploads = Uploads(self.objects, self.of_uploads, reactor)
        return [UploadsApi(self.uploads)]

    async def setUp(self):
        await super().setUp()
        await self.start_uploads()

    async def start_uploads(self):
        await self.uploads.startService()
        self.addCleanup(self.stop_uploads)

    async def stop_uploads(self):
        if self.uploads.running:
            await self.uploads.stopService()

    async def tus(self, method, target, body=b"", /, **headers):
        """Send a request of the protocol."""
        return await self.ask(method, target, body, **{"Tus_Resumable": "1.0.0"} | headers)

    async def begin(self, body=b"", /, **headers):
        """Begin an upload in `photos`."""
        said = {"X_Namespace": "photos"} | ({"Content_Type": PIECE} if body else {})
        return await self.tus("POST", "/v1/uploads", body, **said | headers)

    async def begun(self, size, key="", **headers):
        """Begin an upload of so many bytes and give its target."""
        said = {"X_Key": key} if key else {}
        answer = await self.begin(Upload_Length=size, **said, **headers)
        self.assertEqual(answer.code, 201, answer.body)
        return answer.headers["location"]

    async def patch(self, target, start, body=b"", /, **headers):
        """Send a piece."""
        return await self.tus("PATCH", target, body, **{"Upload_Offset": start, "Content_Type": PIECE} | headers)

    async def head(self, target, /, **headers):
        """Ask how far it is."""
        return await self.tus("HEAD", target, **headers)

    async def offset(self, target):
        """Give how far it is."""
        answer = await self.head(target)
        self.assertEqual(answer.code, 200, answer.headers)
        return int(answer.headers["upload-offset"])

    async def status(self, target):
        """Give what JSON says of it."""
        answer = await self.get(target)
        self.assertEqual(answer.code, 200, answer.body)
        return answer.json

    async def bytes_of(self, answer):
        """Give the bytes of the object that an answer names."""
        found = await self.get(f"/v1/objects/{answer.headers['x-object-id']}")
        self.assertEqual(found.code, 200, found.body)
        return found.body

    async def half_sent(self, target, start, body, size, **headers):
        """Begin a PATCH of `size` bytes with these first ones; give the connection."""
        said = {
            "Host": "here",
            "X-API-Key": key_of(self.caller),
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": start,
            "Content-Type": PIECE,
            "Content-Length": size,
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        raw = await self.connect()
        lines = [f"PATCH {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
        raw.send("\r\n".join(lines).encode() + body)
        return raw

    async def until(self, is_so):
        """Wait until `is_so()`, a coroutine function, gives true."""
        while not await is_so():
            await deferLater(reactor, 0.02)

    async def rows(self, table):
        """Count rows."""
        ((count,),) = await self.objects.database.read(lambda tx: tx.execute(f"SELECT COUNT(*) FROM {table}"))  # noqa: S608 - names of ours
        return count

    async def files(self):
        """Give the keys of all parts in all stores."""
        found = []
        for store in self.objects.stores.values():
            async for page in store.list("uploads/"):
                found += [listed.key for listed in page]
        return found

    def change(self, **settings):
        """Go on with other settings."""
        self.uploads._desk.settings = replace(self.uploads._desk.settings, **settings)
