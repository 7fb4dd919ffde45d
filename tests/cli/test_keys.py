"""`stor keys` and `stor token` as a shell sees them, against a real site."""

import json
import os
import sys
from pathlib import Path

import jwt
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from stor.access.jwt import Jwt
from stor.access.offers import offered
from stor.children import clean_environment, run
from stor.cli.keys import keys
from stor.cli.token import token
from stor.errors import BadRequest, ConfigError, Unavailable
from tests.access.authorities import AuthorityServer
from tests.keyring.houses import ADMIN_KEY, JWT_SECRET, KeyHouse
from tests.places import folder

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-c", "from stor.cli import main; main()"]


class KeysTests(KeyHouse):
    async def setUp(self):
        await super().setUp()
        self.folder = folder(self)
        (self.folder / "key").write_text(ADMIN_KEY + "\n")

    async def stor(self, *arguments, **environ):
        argv = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), *COMMAND, *arguments]
        environ = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "STOR_URL": self.url} | environ
        ended = await run(argv, clean_environment(environ), 20, reactor)
        self.assertNotIn(ADMIN_KEY.encode(), ended.out + ended.err)
        return ended

    async def ok(self, *arguments, **environ):
        ended = await self.stor("keys", *arguments, **{"STOR_KEY": ADMIN_KEY} | environ)
        self.assertEqual(ended.code, 0, ended)
        return ended.out.decode()

    async def fails(self, words, *arguments, code=1, **environ):
        ended = await self.stor("keys", *arguments, **environ)
        self.assertEqual((ended.code, ended.out), (code, b""), ended)
        self.assertIn(words, ended.err.decode())
        if code == 1:
            self.assertEqual(ended.err.count(b"\n"), 1)

    async def test_create(self):
        """Only the key is on stdout, so that it can be kept in a variable; it works."""
        text = (await self.ok("create", "ci", "-p", "keys:manage", "--tenant", "acme", "--expires-in", "2d")).strip()
        code, _, said = await self.call("GET", key=text)
        (key,) = said["keys"]
        self.assertEqual(
            (code, key["name"], key["tenant_id"], key["permissions"]), (200, "ci", "acme", ["keys:manage"])
        )
        self.assertIsNotNone(key["expires_at"])
        again = json.loads(await self.ok("create", "two", "-p", "keys:manage", "--json", STOR_KEY=text))
        self.assertEqual((again["tenant_id"], again["created_by"]), ("acme", f"key:{key['id']}:ci"))
        await self.fails("own tenant (403)", "create", "x", "-p", "keys:manage", "--all-tenants", STOR_KEY=text)

    async def test_list(self):
        """A table for people, JSON for scripts; nothing in a name is taken for markup."""
        made = await self.make(name="[bold]b", tenant_id="acme")
        lines = (await self.ok("list")).splitlines()
        self.assertEqual(lines[1].split()[:4], [made["id"], "[bold]b", "acme", "blobs:read"])
        del made["key"]
        self.assertEqual(json.loads(await self.ok("list", "--json")), [made])

    async def test_pages(self):
        """A list is followed to its end."""
        names = [(await self.make(name=f"k{number}"))["id"] for number in range(3)]
        self.patch_page(1)
        self.assertEqual([key["id"] for key in json.loads(await self.ok("list", "--json"))], names)

    def patch_page(self, size):
        script = f"import stor.cli.keys; stor.cli.keys.PAGE = {size}; {COMMAND[2]}"
        self.patch(sys.modules[__name__], "COMMAND", [*COMMAND[:2], script])

    async def test_revoke(self):
        """By id or by prefix; the key opens nothing from then on."""
        made = [await self.make(permissions=["keys:manage"]) for _ in range(2)]
        self.assertEqual(await self.ok("revoke", made[0]["id"]), f"{made[0]['id']} is revoked\n")
        self.assertEqual(json.loads(await self.ok("revoke", made[1]["prefix"], "--json"))["revoked"], True)
        for key in made:
            self.assertEqual((await self.call("GET", key=key["key"]))[0], 401)
        await self.fails("no API key 0123456789 (404)", "revoke", "0123456789", STOR_KEY=ADMIN_KEY)

    async def test_where_the_key_is(self):
        """--key-file, else STOR_KEY, else the admin key in the configured data folder."""
        await self.ok("list", "--key-file", "key", STOR_KEY="wrong")
        await self.fails("(401)", "list", STOR_KEY="wrong")
        (self.folder / "data").mkdir()
        (self.folder / "data" / "admin-key").write_text(ADMIN_KEY)
        (self.folder / "stor.toml").write_text(f'data = "data"\n[web]\nport = {self.service.port}\n')
        await self.ok("list", STOR_KEY="", STOR_URL="")
        await self.fails("STOR_KEY", "list", STOR_KEY="", STOR_DATA="elsewhere")

    async def test_other_servers(self):
        """A key is not sent on to whoever a server points to, and a server's words cannot steer a terminal."""
        other = AuthorityServer().start(self)
        other.status, other.headers = 302, {"location": self.url + "/v1/api-keys"}
        await self.fails("(302)", "list", "--url", other.url, STOR_KEY=ADMIN_KEY)
        other.status, other.body = 403, json.dumps({"error": {"message": "\x1b[2Jno"}}).encode()
        await self.fails("?[2Jno (403)", "list", "--url", other.url, STOR_KEY=ADMIN_KEY)
        other.status, other.body = 502, b"<html>"
        await self.fails("the server refuses (502)", "list", "--url", other.url, STOR_KEY=ADMIN_KEY)

    async def test_token(self):
        """A token that stor lets in, for who and what it says, with the configured issuer and audience."""
        arguments = ("token", "alice", "-p", "blobs:read", "--tenant", "acme", "--claim", "run=42")
        known = {"JWT_SECRET": JWT_SECRET, "STOR_ACCESS__JWT_ISSUER": "me", "STOR_ACCESS__JWT_AUDIENCE": "stor"}
        ended = await self.stor(*arguments, **known)
        self.assertEqual((ended.code, ended.err), (0, b""))
        text = ended.out.decode().strip()
        self.assertNotIn(JWT_SECRET, text)
        (offer,) = offered(None, f"Bearer {text}")
        found = Jwt(secret=JWT_SECRET.encode(), issuer="me", audience="stor").prove(offer)
        self.assertEqual((found.name, found.tenant, found.permissions), ("jwt:alice", "acme", {"blobs:read"}))
        claims = jwt.decode(text, options={"verify_signature": False})
        self.assertEqual((claims["run"], claims["exp"] - claims["iat"]), (42, 3600))


class MistakeTests(SynchronousTestCase):
    """What goes wrong before any server is asked, so that no process of its own is needed."""

    def run_command(self, command, *arguments, **environ):
        config = folder(self) / "stor.toml"
        config.touch()
        # No variable of ours from outside may help.
        ours = {name: None for name in os.environ if name.startswith(("STOR_", "JWT_", "API_"))}
        done = CliRunner().invoke(command, [*arguments, "--config", str(config)], env=ours | environ)
        self.assertNotIn(ADMIN_KEY, done.output)
        return done

    def test_keys(self):
        """A server that is away, a URL that is none, a key that is none, options that make no sense."""
        create = ("create", "x", "-p", "admin")
        for arguments, environ, kind, words in (
            (("list", "--url", "http://127.0.0.1:9"), {}, Unavailable, "does not answer"),
            (("list", "--url", "file:///etc/passwd"), {}, SystemExit, "an http://"),
            (("list",), {"STOR_KEY": "two\nlines"}, ConfigError, "STOR_KEY holds no key"),
            (("list",), {"STOR_KEY": None}, ConfigError, "set STOR_KEY"),
            (("list", "--key-file", "/none"), {}, ConfigError, "/none: No such file"),
            ((*create, "--expires-in", "1y"), {}, SystemExit, "a time is said"),
            ((*create, "--tenant", "a", "--all-tenants"), {}, SystemExit, "two things"),
        ):
            done = self.run_command(keys, *arguments, **{"STOR_KEY": ADMIN_KEY} | environ)
            self.assertIsInstance(done.exception, kind, arguments)
            self.assertIn(words, f"{done.exception} {done.output}")

    def test_token(self):
        """Without a secret, with an odd claim, or with no permission that exists, there is no token."""
        for arguments, environ, kind, words in (
            (("-p", "admin"), {"JWT_SECRET": None}, ConfigError, "no secret to sign with"),
            (("-p", "fly"), {}, BadRequest, "no such permission"),
            (("-p", "admin", "--claim", "exp=1"), {}, SystemExit, "NAME=JSON"),
            (("-p", "admin", "--claim", "a=b"), {}, SystemExit, "no JSON"),
            (("-p", "admin", "--expires-in", "0"), {}, SystemExit, "a time is said"),
        ):
            done = self.run_command(token, "alice", *arguments, **{"JWT_SECRET": JWT_SECRET} | environ)
            self.assertIsInstance(done.exception, kind, arguments)
            self.assertIn(words, f"{done.exception} {done.output}")
