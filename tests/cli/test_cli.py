"""The `stor` command as a shell sees it."""

import json
import socket
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from stor import __version__
from stor.children import Ended, clean_environment, run
from tests.places import folder

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-c", "from stor.cli import main; main()"]


class CliCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.folder = folder(self)

    async def stor(self, *arguments: str, **environ: str) -> Ended:
        argv = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), *COMMAND, *arguments]
        return await run(argv, clean_environment({"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environ), 20, reactor)


class ConfigTests(CliCase):
    async def test_version(self) -> None:
        """`stor --version` is the version of the package."""
        self.assertEqual((await self.stor("--version")).out, f"stor {__version__}\n".encode())

    async def test_check(self) -> None:
        """Each value stands with its origin; secrets do not stand there."""
        (self.folder / "stor.toml").write_text("[web]\nport = 8081\n[volume]\nbucket = '[bold]b'\n")
        ended = await self.stor("config", "check", PROXY_PASSWORD="swordfish")
        lines = [line.split() for line in ended.out.decode().splitlines()]
        self.assertIn(["web.port", "8081", "stor.toml"], lines)
        self.assertIn(["volume.bucket", "[bold]b", "stor.toml"], lines)
        self.assertIn(["redis.password", "***", "environment", "PROXY_PASSWORD"], lines)
        self.assertIn(["redis.port", "6379", "default"], lines)
        self.assertNotIn(b"swordfish", ended.out + ended.err)
        self.assertEqual((ended.code, ended.err), (0, b""))

    async def test_json(self) -> None:
        """For scripts the same as JSON."""
        ended = await self.stor("config", "check", "--json", STOR_REDIS__PORT="7000")
        self.assertIn(
            {"key": "redis.port", "value": "7000", "origin": "environment STOR_REDIS__PORT"},
            json.loads(ended.out),
        )

    async def test_wrong(self) -> None:
        """A wrong configuration is exit code 1 and one line."""
        ended = await self.stor("config", "check", STOR_REDIS__PROT="7000")
        said = b"stor: environment STOR_REDIS__PROT: unknown key redis.prot, did you mean redis.port?\n"
        self.assertEqual(ended, Ended(1, b"", said))

    async def test_missing(self) -> None:
        """A file that was named must be there."""
        ended = await self.stor("config", "check", "--config", "no.toml")
        self.assertEqual((ended.code, ended.err), (1, b"stor: no.toml: No such file or directory\n"))


class Answer(Resource):
    isLeaf = True

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def render_GET(self, request):
        if self.code == 0:
            return NOT_DONE_YET
        request.setResponseCode(self.code)
        return b"{}"


class HealthTests(CliCase):
    async def ask(self, code: int) -> Ended:
        port = reactor.listenTCP(0, Site(Answer(code)), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        where = f"http://127.0.0.1:{port.getHost().port}/readyz"
        ended = await self.stor("health", "--url", where, http_proxy="http://127.0.0.1:1")
        await deferLater(reactor, 0.05)  # the server notices that its guest has left
        return ended

    async def test_ready(self) -> None:
        """200 is exit code 0, and a proxy in the environment is not asked."""
        self.assertEqual(await self.ask(200), Ended(0, b"ready (200)\n", b""))

    async def test_not_ready(self) -> None:
        """503 is exit code 1."""
        self.assertEqual(await self.ask(503), Ended(1, b"", b"not ready (503)\n"))

    async def test_silence(self) -> None:
        """A server that does not answer is not waited for longer than 3 s."""
        began = reactor.seconds()
        ended = await self.ask(0)
        self.assertEqual((ended.code, ended.out), (1, b""))
        self.assertLess(reactor.seconds() - began, 8)

    async def test_nobody(self) -> None:
        """Where nobody listens there is no health."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ended = await self.stor("health", "--url", f"http://127.0.0.1:{free.getsockname()[1]}/")
        self.assertEqual(ended.code, 1)
        self.assertIn(b"no answer", ended.err)

    async def test_not_http(self) -> None:
        """A file is no server."""
        self.assertEqual((await self.stor("health", "--url", "file:///etc/passwd")).code, 2)
