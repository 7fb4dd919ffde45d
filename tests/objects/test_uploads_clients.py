"""The protocol's own clients, interrupted and resumed: tuspy, and tus-js-client under node."""

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from tusclient.client import TusClient
from twisted.internet.threads import deferToThread

from stor.objects.records import Name
from tests.objects.serving import key_of
from tests.objects.uploading import Uploading
from tests.places import folder
from tests.programs import program
from tests.servers import clean_environment

MIB = 1 << 20
SIZE = 20 * MIB + 12345
HERE = Path(__file__).parent / "tus"
CACHE = Path(__file__).parents[2] / ".compat"
HEADERS = {"X-API-Key": key_of("acme"), "X-Namespace": "films"}


def modules():
    """Give the folder in which tus-js-client is installed as the lock file says: once for all test runs."""
    digest = sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    place = CACHE / f"tus-{digest}"
    if not place.exists():
        CACHE.mkdir(exist_ok=True)
        fresh = Path(mkdtemp(prefix="tus-", dir=CACHE))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, fresh)
        argv = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(argv, cwd=fresh, timeout=120, check=True, stdout=subprocess.DEVNULL)
        fresh.rename(place)
    return place


class ClientTests(Uploading):
    timeout = 120

    def setUp(self):
        self.place = folder(self)
        self.file = self.place / "film"
        with self.file.open("wb") as file:
            for _ in range(SIZE // MIB):
                file.write(os.urandom(MIB))
            file.write(os.urandom(SIZE % MIB))
        return super().setUp()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.web.port}/v1/uploads"

    async def assert_whole(self, key):
        """The object has the file's bytes."""
        found = await self.objects.find_key(Name("films", "acme", key))
        self.assertEqual(found.object.digest, sha256(self.file.read_bytes()).hexdigest())
        answer = await self.get(self.at(key, namespace="films"))
        self.assertEqual(answer.body, self.file.read_bytes())
        return found.object

    # ---- tuspy

    async def test_tuspy(self):
        """Pieces with checksums, left in the middle, and taken up by another client that knows nothing but the URL."""
        url = await deferToThread(self._begin_by_tuspy)
        at = await self.offset(url.removeprefix(f"http://127.0.0.1:{self.web.port}"))
        self.assertEqual(at, 9 * MIB)
        resumed_at = await deferToThread(self._resume_by_tuspy, url)
        self.assertEqual(resumed_at, at)
        made = await self.assert_whole("tuspy")
        self.assertEqual((made.metadata, made.content_type), ({"filename": "film"}, "video/mp4"))

    def _begin_by_tuspy(self):
        metadata = {"key": "tuspy", "filename": "film", "filetype": "video/mp4"}
        client = TusClient(self.endpoint, headers=HEADERS)
        with self.file.open("rb") as file:
            uploader = client.uploader(file_stream=file, chunk_size=3 * MIB, metadata=metadata, upload_checksum=True)
            uploader.upload(stop_at=9 * MIB)
        return uploader.url

    def _resume_by_tuspy(self, url):
        client = TusClient(self.endpoint, headers=HEADERS)
        with self.file.open("rb") as file:
            uploader = client.uploader(file_stream=file, chunk_size=3 * MIB, url=url)
            found = uploader.offset
            uploader.upload()
        return found

    # ---- tus-js-client

    async def test_node_in_pieces(self):
        """A client that is killed between and in its pieces goes on when it is started anew."""
        await self._interrupted("pieces", chunkSize=3 * MIB)

    async def test_node_in_one(self):
        """A client that sends all in one PATCH, and is killed in it, does not send again what had arrived."""
        await self._interrupted("one")

    async def test_node_other_ways(self):
        """With the first piece in the creation; with the length said last."""
        for key, task in (("early", {"withCreation": True}), ("late", {"lengthLater": True})):
            code, said = await self._node(key, chunkSize=8 * MIB, **task)
            self.assertEqual(code, 0, said)
            await self.assert_whole(key)

    async def _interrupted(self, key, **task):
        code, said = await self._node(key, dieAfter=10 * MIB, **task)
        self.assertEqual((code, said), (-9, ""))
        code, said = await self._node(key, **task)
        self.assertEqual(code, 0, said)
        (offset,) = json.loads(said)["offsets"]
        self.assertTrue(3 * MIB <= offset < SIZE, offset)
        await self.assert_whole(key)
        self.assertEqual(await self.rows("object"), 1)

    async def _node(self, key, **task):
        """Run the program; give its exit code and what it said."""
        place = await deferToThread(modules)
        told = {
            "modules": str(place),
            "endpoint": self.endpoint,
            "file": str(self.file),
            "storage": str(self.place / f"urls-{key}"),
            "headers": HEADERS,
            "metadata": {"key": key, "filename": "film", "filetype": "video/mp4"},
        }
        done = await deferToThread(
            subprocess.run,
            [program("node"), str(HERE / "upload.mjs")],
            input=json.dumps(told | task).encode(),
            stdout=subprocess.PIPE,
            timeout=100,
            check=False,
            env=clean_environment(),
        )
        return done.returncode, done.stdout.decode()
