from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from stor.errors import BadRequest, Failed
from stor.volume.juicefs import (
    BucketSettings,
    MetaUrl,
    Volume,
    checked,
    format_argv,
    format_secrets,
    read_status,
    said,
    status_argv,
    status_secrets,
    wanted,
)

META = MetaUrl("redis.example", 6379, 2, "st@r/1", "meta-secret")
S3 = BucketSettings("s3", "https://gw.example/b", "access-secret", "key-secret")


class UrlTests(SynchronousTestCase):
    def test_forms(self):
        """User, address family, database and TLS are said as juicefs reads them; the password never is."""
        for meta, url in (
            (META, "redis://st%40r%2F1@redis.example:6379/2"),
            (MetaUrl("::1", 1, password="x"), "redis://[::1]:1/0"),
            (MetaUrl("h", 1, tls=True), "rediss://h:1/0"),
            (MetaUrl("h", 1, tls=True, ca_file="/a b.pem"), "rediss://h:1/0?tls-ca-cert-file=%2Fa+b.pem"),
            (
                MetaUrl("h", 1, tls=True, insecure_skip_verify=True),
                "rediss://h:1/0?insecure-skip-verify=true",
            ),
            (MetaUrl("h", 1, ca_file="/a.pem", insecure_skip_verify=True), "redis://h:1/0"),
        ):
            self.assertEqual(meta.url, url)


class SecretTests(SynchronousTestCase):
    def test_nowhere_but_environment(self):
        """Secrets are in the environment of the run that needs them, not in argv, not in a repr."""
        argvs = [*status_argv(S3, META), *format_argv(S3, META, "vol")]
        for secret in ("meta-secret", "access-secret", "key-secret"):
            self.assertNotIn(secret, " ".join(argvs) + repr(META) + repr(S3))
        self.assertEqual(status_secrets(META), {"META_PASSWORD": "meta-secret"})
        self.assertEqual(
            format_secrets(S3, META),
            {"META_PASSWORD": "meta-secret", "ACCESS_KEY": "access-secret", "SECRET_KEY": "key-secret"},
        )

    def test_none(self):
        """What is empty is not set: juicefs would take the empty word for a password."""
        self.assertEqual(format_secrets(BucketSettings("file", "/b"), MetaUrl("h", 1)), {})


class NameTests(SynchronousTestCase):
    def test_names(self):
        """What juicefs 1.4.2 takes, measured; nothing that looks like an option."""
        for name in ("vol", "9x9", "a-b", "a" * 63):
            self.assertEqual(checked(name), name)
        for name in ("", "ab", "a" * 64, "A_B", "Abc", "x--", "-abc", "--help", "a b", "vol\n", "völ"):
            self.assertRaises(BadRequest, checked, name)


class WantedTests(SynchronousTestCase):
    def test_folder(self):
        """A folder is compared as juicefs stores it: absolute, with a slash."""
        here = f"{Path.cwd()}"
        for bucket, stored in (
            ("/a/b", "/a/b/"),
            ("/a/x/../b//", "/a/b/"),
            ("rel", f"{here}/rel/"),
            ("/", "/"),
        ):
            self.assertEqual(wanted(BucketSettings("file", bucket), "vol"), Volume("vol", "file", stored))

    def test_url(self):
        """A bucket's URL is compared as it stands."""
        self.assertEqual(wanted(S3, "vol"), Volume("vol", "s3", "https://gw.example/b"))


class ReadTests(SynchronousTestCase):
    def test_volume(self):
        """The three things that make the volume are found among the rest."""
        out = b'{"Setting": {"Name": "vol", "UUID": "u", "Storage": "s3", "Bucket": "b", "X": 1}, "Stat": {}}'
        self.assertEqual(read_status(0, out, b""), Volume("vol", "s3", "b"))

    def test_none_yet(self):
        """Only juicefs' own words mean that there is no volume; any other failure is one."""
        none = b"<FATAL>: get status: load setting: database is not formatted, please run ..."
        self.assertIsNone(read_status(1, b"", none))
        for code, out, err in (
            (1, b"", b"NOAUTH"),
            (1, b"", b""),
            (-9, b"", b""),
            (0, b"", b""),
            (0, b"{}", b""),
        ):
            self.assertRaises(Failed, read_status, code, out, err)

    def test_said(self):
        """Colours go, and the address of its Redis, user and host; of too much the end is kept."""
        err = b"Meta address: rediss://st%40r@redis.example:6379/2?x=y [a@b.go:1]\n\x1b[92mOK\x1b[0m\n"
        self.assertEqual(said(err), "Meta address: rediss://*** [a@b.go:1]\nOK")
        self.assertEqual(len(said(b"x" * 100_000)), 8192)
        self.assertTrue(said(b"x" * 100_000 + b"end").endswith("end"))
