"""One Config from a file and the environment."""

import contextlib  # `suppress` would be a word of trial in this module
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.config import Config, Secret, explain, load
from stor.errors import ConfigError
from tests.places import folder


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder(self)

    def write(self, text: str, name: str = "stor.toml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def read(self, text: str = "", **environ: str) -> Config:
        return load(self.write(text), environ)

    def refused(self, text: str = "", **environ: str) -> str:
        return str(self.assertRaises(ConfigError, self.read, text, **environ)).replace(str(self.folder), "")

    def origins(self, text: str = "", **environ: str) -> dict[str, tuple[str, str]]:
        shown = explain(self.write(text), environ)
        return {key: (value, origin.replace(f"{self.folder}/", "")) for key, value, origin in shown}


class FileTests(Case):
    def test_defaults(self) -> None:
        """Without a word everything is on loopback and below ./stor-data."""
        config = self.read()
        self.assertEqual(
            (config.web.host, config.redis.host, config.data), ("127.0.0.1", "127.0.0.1", Path("stor-data"))
        )
        self.assertIsNone(config.redis.password)

    def test_sections(self) -> None:
        """What stands in the file is what is read."""
        config = self.read("""
            data = "/srv/stor"
            [web]
            trusted_proxies = ["10.0.0.0/8", "::1/128"]
            [redis]
            drain_seconds = 1.5
            [redis.users.alice]
            password = "a"
            upstream = "redis://elsewhere/1"
            [redis.limits]
            failures = 3
            [volume]
            storage = "file"
        """)
        self.assertEqual(config.data, Path("/srv/stor"))
        self.assertEqual(config.web.trusted_proxies, ("10.0.0.0/8", "::1/128"))
        self.assertEqual((config.redis.drain_seconds, config.redis.limits.failures), (1.5, 3))
        self.assertEqual(config.redis.users["alice"].password.reveal(), "a")
        self.assertEqual(config.volume.storage, "file")

    def test_refused(self) -> None:
        """What is wrong is told with its place, and what was perhaps meant."""
        for text, said in [
            ("[redis]\nprot = 1", "unknown key redis.prot, did you mean redis.port?"),
            ("[reddis]\nport = 1", "unknown key reddis, did you mean redis?"),
            (
                "[redis.users.a]\npasword = 'x'",
                "unknown key redis.users.a.pasword, did you mean redis.users.a.password?",
            ),
            ("[web]\nzzz = 1", "unknown key web.zzz"),
            ("web = 3", "web is a section, not a value"),
            ("[redis]\nport = 70000", "redis.port (/stor.toml): Expected `int` <= 65535"),
            ("[redis]\nport = 'x'", "redis.port (/stor.toml): Expected `int`, got `str`"),
            ("[redis]\ndrain_seconds = 0", "redis.drain_seconds (/stor.toml): Expected `float` > 0.0"),
            ("[redis]\npassword = 7", "redis.password (/stor.toml): Expected a text that is not empty"),
            ("[redis]\npassword = ''", "redis.password (/stor.toml): Expected a text that is not empty"),
            ("[redis]\nserver = 'remote'", "redis.server (/stor.toml): Invalid enum value 'remote'"),
            ("[redis.users.a]\nupstream = 'redis://h'", "redis: the user `a` has no password"),
            (
                "[redis.users.default]\npassword = 'x'",
                "redis: the user `default` has its password in [redis]",
            ),
            ("[redis.tls]\nport = 1", "redis.tls: a TLS port needs cert_file and key_file"),
            ("[web]\ntrusted_proxies = ['10.0.0/8']", "web: '10.0.0/8' is no address range"),
            ("[redis]\nurl = 'http://u:hunter2@h'", "redis: a Redis URL must begin with"),
            ("[web", "/stor.toml: Expected ']'"),
        ]:
            why = self.refused(text)
            self.assertIn(said, why)
            self.assertNotIn("hunter2", why)
            self.assertNotIn("\n", why)

    def test_frozen(self) -> None:
        """What has been read cannot be changed."""
        with self.assertRaises(AttributeError):
            self.read().redis.port = 1

    def test_missing(self) -> None:
        """A file that was named must be there."""
        self.assertRaisesRegex(ConfigError, "no.toml: No such file", load, self.folder / "no.toml", {})

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any file is read or refused with a ConfigError."""
        path = self.folder / "any.toml"
        path.write_bytes(text.encode(errors="surrogatepass"))
        with contextlib.suppress(ConfigError):
            load(path, {})


class EnvironmentTests(Case):
    def test_above_the_file(self) -> None:
        """STOR_ names stand above the file, at any depth; lists are separated by commas."""
        config = self.read(
            "[redis]\nport = 1\n[redis.limits]\nfailures = 3",
            STOR_REDIS__PORT="2",
            STOR_REDIS__LIMITS__FAILURES="4",
            STOR_REDIS__IPV6="false",
            STOR_REDIS__PROXY_PROTOCOL__TRUSTED="10.0.0.0/8, 172.16.0.0/12",
            STOR_REDIS__USERS__ALICE__PASSWORD="a",
            STOR_DATA="/d",
        )
        self.assertEqual((config.redis.port, config.redis.limits.failures, config.redis.ipv6), (2, 4, False))
        self.assertEqual(config.redis.proxy_protocol.trusted, ("10.0.0.0/8", "172.16.0.0/12"))
        self.assertEqual(list(config.redis.users), ["alice"])
        self.assertEqual(config.data, Path("/d"))

    def test_refused(self) -> None:
        """A mistyped name is told with the name that was read and the key that was meant."""
        self.assertEqual(
            self.refused(STOR_REDIS__PROT="2"),
            "environment STOR_REDIS__PROT: unknown key redis.prot, did you mean redis.port?",
        )
        self.assertEqual(self.refused(PROXY_PORT="x"), "redis.port (environment PROXY_PORT): Expected `int`, got `str`")
        self.assertIn("redis is a section", self.refused(STOR_REDIS="x"))

    def test_kubernetes(self) -> None:
        """What Kubernetes sets for services named stor and redis is not taken for settings."""
        config = self.read(
            STOR_PORT="tcp://10.0.0.1:80", STOR_SERVICE_HOST="10.0.0.1", REDIS_PORT="tcp://10.0.0.2:6379"
        )
        self.assertEqual((config.redis.port, config.redis.url), (6379, None))

    def test_dotenv(self) -> None:
        """`.env` beside the file is read; the real environment stands above it."""
        self.write("PROXY_PORT=7001\nSTOR_WEB__PORT=7002\n", ".env")
        config = self.read("[redis]\nport = 1", STOR_WEB__PORT="7003")
        self.assertEqual((config.redis.port, config.web.port), (7001, 7003))

    def test_wrong_dotenv(self) -> None:
        """A `.env` that cannot be read is told, without what stands in it."""
        self.write("swordfish\n", ".env")
        self.assertEqual(self.refused(), "/.env: line 1 is not NAME=value")


class OlderNamesTests(Case):
    def test_each(self) -> None:
        """Each older name still says what it said."""
        config = self.read(
            PROXY_PASSWORD="pw",
            PROXY_HOST="10.1.1.1",
            PROXY_PORT="7000",
            PROXY_IPV6="true",
            REDIS_URL="rediss://u:p@h",
            STORJ_ACCESS_KEY="a",
            STORJ_SECRET_KEY="s",
            STORJ_BUCKET_URL="https://b.example",
            LOG_LEVEL="WARNING",
            LOG_FORMAT="JSON",
        )
        self.assertEqual(
            (config.redis.password.reveal(), config.redis.host, config.redis.port), ("pw", "10.1.1.1", 7000)
        )
        self.assertEqual(config.redis.url, Secret("rediss://u:p@h"))
        self.assertEqual((config.volume.access_key.reveal(), config.volume.secret_key.reveal()), ("a", "s"))
        self.assertEqual((config.volume.bucket, config.volume.storage), ("https://b.example", "s3"))
        self.assertEqual((config.log.level, config.log.format), ("warn", "json"))

    def test_order(self) -> None:
        """STOR_ above older, older above the file, empty older names are as none."""
        text = "[redis]\npassword = 'file'\n[volume]\nstorage = 'file'"
        self.assertEqual(self.read(text, PROXY_PASSWORD="older").redis.password.reveal(), "older")
        both = self.read(text, PROXY_PASSWORD="older", STOR_REDIS__PASSWORD="new")
        self.assertEqual(both.redis.password.reveal(), "new")
        self.assertEqual(self.read(text, PROXY_PASSWORD="").redis.password.reveal(), "file")
        self.assertEqual(self.read(text, STORJ_BUCKET_URL="https://b").volume.storage, "s3")
        self.assertEqual(self.read(text, STORJ_BUCKET_URL="x", STOR_VOLUME__STORAGE="file").volume.storage, "file")

    def test_host(self) -> None:
        """With PROXY_PASSWORD the proxy is for the network, unless somebody says otherwise."""
        self.assertEqual(self.read(PROXY_PASSWORD="p").redis.host, "::")
        self.assertEqual(self.read(PROXY_PASSWORD="p", PROXY_IPV6="false").redis.host, "0.0.0.0")
        self.assertEqual(self.read(PROXY_PASSWORD="p", PROXY_HOST="127.0.0.1").redis.host, "127.0.0.1")
        self.assertEqual(self.read(PROXY_PASSWORD="p", STOR_REDIS__HOST="::1").redis.host, "::1")
        self.assertEqual(self.read("[redis]\nhost = '10.0.0.1'", PROXY_PASSWORD="p").redis.host, "10.0.0.1")
        self.assertEqual(self.read("[redis]\npassword = 'p'").redis.host, "127.0.0.1")

    def test_single_parts(self) -> None:
        """REDIS_HOST and its like stand above their part of the URL, wherever that came from."""
        parts = {"REDIS_HOST": "h2", "REDIS_PORT": "7", "REDIS_USERNAME": "u2", "REDIS_PASSWORD": "p/2"}
        self.assertEqual(self.url(REDIS_URL="rediss://u:p@h:1/3", REDIS_PASSWORD="p/2"), "rediss://u:p%2F2@h:1/3")
        self.assertEqual(self.url(REDIS_URL="rediss://u:p@h:1/3", **parts), "rediss://u2:p%2F2@h2:7/3")
        self.assertEqual(self.url("[redis]\nurl = 'redis://h/1'", REDIS_USERNAME="u2"), "redis://u2:@h:6379/1")
        self.assertEqual(self.url(**parts), "redis://u2:p%2F2@h2:7/0")
        self.assertEqual(self.url(STOR_REDIS__URL="redis://mine", **parts), "redis://mine")
        self.assertEqual(self.refused(REDIS_PORT="many"), "redis.url: REDIS_PORT is no port number")

    def url(self, text: str = "", **environ: str) -> str:
        return self.read(text, **environ).redis.url.reveal()


class SecretTests(Case):
    def test_files(self) -> None:
        """A secret's file is read without its last newline, at any depth."""
        secret = self.write(" sword fish \n", "secret")
        config = self.read(
            f"[redis]\npassword_file = '{secret}'\n[redis.users.a]\npassword_file = '{secret}'",
            STOR_VOLUME__SECRET_KEY_FILE=str(secret),
        )
        for found in (config.redis.password, config.redis.users["a"].password, config.volume.secret_key):
            self.assertEqual(found.reveal(), " sword fish ")

    def test_which(self) -> None:
        """Said twice in one place is refused; otherwise the place that counts more wins."""
        secret = self.write("from the file", "secret")
        self.assertEqual(
            self.refused(f"[redis]\npassword = 'x'\npassword_file = '{secret}'"),
            "redis.password and redis.password_file are both set; one is enough",
        )
        self.assertEqual(
            self.read("[redis]\npassword = 'x'", STOR_REDIS__PASSWORD_FILE=str(secret)).redis.password.reveal(),
            "from the file",
        )
        self.assertEqual(
            self.read(f"[redis]\npassword_file = '{secret}'", PROXY_PASSWORD="older").redis.password.reveal(),
            "older",
        )

    def test_unreadable(self) -> None:
        """A secret's file that is missing, empty or no text is told by its key."""
        self.assertIn(
            "redis.password_file (environment STOR_REDIS__PASSWORD_FILE): /no: No such file",
            self.refused(STOR_REDIS__PASSWORD_FILE="/no"),
        )
        empty = self.write("\n", "empty")
        self.assertIn("redis.password (", self.refused(STOR_REDIS__PASSWORD_FILE=str(empty)))
        (self.folder / "binary").write_bytes(b"\xff\xfe")
        self.assertIn("cannot be read", self.refused(STOR_REDIS__PASSWORD_FILE=str(self.folder / "binary")))

    def test_hidden(self) -> None:
        """A secret shows itself in no text that is made of the configuration."""
        environ = {
            "PROXY_PASSWORD": "swordfish",
            "REDIS_URL": "redis://u:swordfish@h",
            "STORJ_ACCESS_KEY": "swordfish",
            "STORJ_SECRET_KEY": "swordfish",
            "STOR_REDIS__USERS__A__PASSWORD": "swordfish",
            "STOR_REDIS__USERS__A__UPSTREAM": "redis://u:swordfish@h",
        }
        config = self.read("", **environ)
        self.assertEqual(config.redis.password.reveal(), "swordfish")
        for text in (repr(config), str(config), f"{config.redis.password}", str(self.origins(**environ))):
            self.assertNotIn("swordfish", text)

    def test_equal(self) -> None:
        """Secrets compare by what they hide."""
        self.assertEqual(Secret("a"), Secret("a"))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")


class ExplainTests(Case):
    def test_origins(self) -> None:
        """Each value with where it came from."""
        secret = self.write("x", "secret")
        shown = self.origins(
            f"[web]\nport = 1\n[redis]\npassword_file = '{secret}'",
            LOG_LEVEL="debug",
            STOR_REDIS__USERS__A__PASSWORD="pw",
            REDIS_URL="redis://h",
            REDIS_PASSWORD="p",
        )
        self.assertEqual(shown["web.port"], ("1", "stor.toml"))
        self.assertEqual(shown["web.host"], ("127.0.0.1", "default"))
        self.assertEqual(shown["log.level"], ("debug", "environment LOG_LEVEL"))
        self.assertEqual(shown["redis.password"], ("***", "stor.toml"))
        self.assertEqual(shown["redis.url"], ("***", "environment REDIS_URL, environment REDIS_PASSWORD"))
        self.assertEqual(shown["redis.users.a.password"], ("***", "environment STOR_REDIS__USERS__A__PASSWORD"))
        self.assertEqual(shown["redis.ca_file"], ("", "default"))


class BlobsTests(Case):
    def test_older_names(self) -> None:
        """A deployment of the older memory proxy needs no file: its environment says all."""
        config = self.read(
            S3_BUCKET="b",
            S3_PREFIX="/memory/agents/",
            S3_ENDPOINT_URL="http://127.0.0.1:9000",
            AWS_REGION="eu-1",
            AWS_ACCESS_KEY_ID="id",
            AWS_SECRET_ACCESS_KEY="secret",
            HEARE_AUTH_URL="https://auth.example",
            HEARE_AUTH_APP_ID="app",
            DATABASE_URL="postgresql://u:p@h/d",
            API_KEYS="a,b",
        )
        blobs, access = config.blobs, config.access
        self.assertEqual((blobs.bucket, blobs.prefix, blobs.region), ("b", "memory/agents", "eu-1"))
        self.assertEqual((blobs.access_key, blobs.secret_key), (Secret("id"), Secret("secret")))
        self.assertEqual((access.auth_url, access.auth_app_id), ("https://auth.example", "app"))
        self.assertEqual((config.database.url, access.api_keys), (Secret("postgresql://u:p@h/d"), Secret("a,b")))

    def test_faults(self) -> None:
        """What cannot work is told at once, and without secrets."""
        self.assertIn("not in both", self.refused("[blobs]\nbucket = 'b'\nfolder = 'f'"))
        self.assertIn("http://", self.refused("[blobs]\nendpoint = 'localhost:9000'"))
        self.assertIn("http://", self.refused("[access]\nauth_url = 'auth.example'"))
        for prefix in ("", "/a", "a/", "a//b"):
            self.assertIn("blobs.prefix", self.refused(f"[blobs]\nprefix = '{prefix}'"))
        said = self.refused(DATABASE_URL="mysql://u:hunter2@h/d")
        self.assertIn("postgresql://", said)
        self.assertNotIn("hunter2", said)
