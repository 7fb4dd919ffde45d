from hashlib import md5

from twisted.trial.unittest import SynchronousTestCase

from tests.blobs.processes import BlobServer, in_folder
from tests.places import folder

PIECE = bytes(range(256)) * 4096  # 1 MiB
PIECES = 128
MOST = 40 << 20  # bytes that it may take beside what it had


class BoundTests(SynchronousTestCase):
    """What bodies may take of the real program, seen from outside."""

    def test_full(self):
        """507 where a body cannot be kept, nothing is left of it, and what there is room for is still taken."""
        with BlobServer(in_folder(folder(self) / "blobs")) as server:
            server.limit_files(1 << 20)
            for target, headers in ("/blob/large", {}), ("/ns/blob/large", {"If_Match_Version": "0"}):
                heard = server.ask("PUT", target, PIECE * 2, **headers)
                self.assertEqual((heard.code, set(heard.json)), (507, {"detail", "error_code", "context"}))
            self.assertEqual(server.ask("GET", "/sync").json["files"], {})
            self.assertEqual(server.ask("PUT", "/blob/small", b"hello").code, 201)

    def test_flat(self):
        """A body many times what the process may grow by goes up, and comes down at the reader's pace."""
        digest = md5(usedforsecurity=False)
        for _ in range(PIECES):
            digest.update(PIECE)
        with BlobServer(in_folder(folder(self) / "blobs")) as server:
            for warm in range(3):
                server.ask("PUT", f"/blob/warm{warm}", PIECE)
                server.ask("GET", f"/blob/warm{warm}")
            before = highest = server.memory()
            heard = server.ask("PUT", "/blob/large", self.watched(server), Content_Length=str(PIECES << 20))
            self.assertEqual((heard.code, heard.headers["etag"]), (201, f'"{digest.hexdigest()}"'))
            highest = max(self.seen)
            connection = server.connection()
            connection.request("GET", "/blob/large", headers={"Authorization": server.authorization})
            answer, back = connection.getresponse(), md5(usedforsecurity=False)
            while piece := answer.read(1 << 20):
                back.update(piece)
                highest = max(highest, server.memory())
            connection.close()
            self.assertEqual(back.hexdigest(), digest.hexdigest())
            self.assertLess(highest - before, MOST)

    def watched(self, server):
        """Give the body, and look at the memory on the way."""
        self.seen = []
        for _ in range(PIECES):
            self.seen.append(server.memory())
            yield PIECE
