import time
from dataclasses import replace
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from stor.errors import Failed, Unavailable
from stor.volume.bootstrap import Bootstrap
from stor.volume.juicefs import MetaUrl
from tests.places import folder
from tests.servers import TlsRedisServer
from tests.volume.volumes import PASSWORD, Volume, Watch


class FormatTests(Volume):
    async def test_once(self):
        """The first call formats, the second finds it done; nothing is changed by it."""
        done = await self.bootstrap().format()
        self.assertFalse(done.already_formatted)
        self.assertIn("Volume is formatted as", done.output)
        before = self.stored()
        self.assertEqual((before["Name"], before["Bucket"]), ("first", self.settings.bucket + "/"))
        again = await self.bootstrap().format()
        self.assertTrue(again.already_formatted)
        self.assertEqual(self.stored(), before)
        self.assertEqual(self.probed, 2)

    async def test_named(self):
        """The caller may name the volume."""
        await self.bootstrap().format("second")
        self.assertEqual(self.stored()["Name"], "second")

    async def test_two_calls_at_once(self):
        """Two calls at once make one volume; one of them made it, the other found it."""
        bootstrap = self.bootstrap()
        done = await gatherResults([bootstrap.format(), bootstrap.format()])
        self.assertEqual([one.already_formatted for one in done], [False, True])

    async def test_two_processes_at_once(self):
        """So do two that know nothing of each other, and one with another bucket never wins silently."""
        elsewhere = self.bootstrap(bucket=str(folder(self)))
        done = await gatherResults(
            [
                bootstrap.format().addErrback(lambda failure: failure.value)
                for bootstrap in (self.bootstrap(), elsewhere)
            ]
        )
        buckets = [self.settings.bucket + "/", elsewhere._settings.bucket + "/"]
        winner = buckets.index(self.stored()["Bucket"])
        self.assertFalse(done[winner].already_formatted)
        self.assertIn("bucket", str(done[1 - winner]))

    async def test_other_volume(self):
        """Another bucket, storage or name is a conflict that names the difference and changes nothing."""
        await self.bootstrap().format()
        before = self.stored()
        s3 = {"storage": "s3", "access_key": "a", "secret_key": "s", "bucket": "http://127.0.0.1:1/b"}
        for changes, differ in (
            ({"bucket": str(folder(self))}, "its bucket differ"),
            ({"name": "second"}, "its name differ"),
            (s3, "its storage and bucket differ"),
        ):
            failure = await self.assertFailure(self.bootstrap(**changes).format(), Exception)
            self.assertEqual(type(failure).__name__, "Conflict")
            self.assertIn(differ, str(failure))
            self.assertEqual(self.stored(), before)

    async def test_caller_leaves(self):
        """A caller who does not wait leaves a whole volume behind, and the next one finds it."""
        bootstrap = self.bootstrap()
        waiting = bootstrap.format()
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertTrue((await bootstrap.format()).already_formatted)

    async def test_no_juicefs(self):
        """A program that is not installed is said by name."""
        failure = await self.assertFailure(self.bootstrap(juicefs="no-such-program").format(), Failed)
        self.assertEqual(str(failure), "no-such-program is not installed")

    async def test_used_bucket(self):
        """A bucket that already holds a volume of this name is refused by juicefs, in its own words."""
        await self.bootstrap().format()
        elsewhere = replace(self.meta, database=4)
        failure = await self.assertFailure(self.bootstrap(elsewhere).format(), Failed)
        self.assertIn("is not empty", str(failure))
        self.assertIsNone(self.stored(elsewhere))


class AwayTests(Volume):
    async def test_dead_redis(self):
        """With Redis away the probe says so, and juicefs is not asked: it would take over a minute."""
        self.redis.kill()

        async def probe():
            raise Unavailable("redis is away", 1.0)

        bootstrap = Bootstrap(self.meta, self.settings, probe, reactor)
        with mock.patch("stor.volume.bootstrap.run", side_effect=AssertionError("juicefs was asked")):
            failure = await self.assertFailure(bootstrap.format(), Unavailable)
        self.assertEqual(str(failure), "redis is away")

    async def test_hung_redis(self):
        """A Redis that hangs after the probe costs the deadline, not more, and leaves no process."""
        self.redis.pause()
        self.addCleanup(self.redis.resume)
        begun = time.monotonic()
        await self.assertFailure(self.bootstrap(seconds=1.0).format(), Failed)
        self.assertLess(time.monotonic() - begun, 5)

    async def test_wrong_credential(self):
        """A wrong Redis password is a failure with Redis' word for it, not taken for an empty database."""
        wrong = replace(self.meta, password="not-the-password")
        failure = await self.assertFailure(self.bootstrap(wrong).format(), Failed)
        self.assertIn("WRONGPASS", str(failure))
        self.assertNotIn("not-the-password", str(failure))


class TlsTests(Volume):
    async def test_tls(self):
        """Over TLS the certificate is checked against our file, unless that is switched off."""
        server = self.start(TlsRedisServer(config_lines=["requirepass pw"]))
        meta = MetaUrl("127.0.0.1", server.port, 0, "", "pw", tls=True, ca_file=str(server.authority_file))
        self.assertFalse((await self.bootstrap(meta).format()).already_formatted)
        unchecked = replace(meta, ca_file=None, insecure_skip_verify=True)
        self.assertTrue((await self.bootstrap(unchecked).format()).already_formatted)
        stranger = self.bootstrap(replace(meta, ca_file=None), seconds=10)
        failure = await self.assertFailure(stranger.format(), Failed)
        self.assertIn("certificate", str(failure))


class S3Tests(Volume):
    async def test_format(self):
        """On a real S3 server, with the secrets seen nowhere: not in argv, output, log or error."""
        self.settings = self.start_s3()
        secrets = [PASSWORD, self.s3.access_key, self.s3.secret_key]
        with Watch(secrets) as watch:
            done = await self.bootstrap().format()
        self.assertGreater(watch.seen, 0)
        self.assertEqual(watch.found, [])
        self.assertIn("Volume is formatted as", done.output)
        self.assertEqual((self.stored()["Storage"], self.stored()["Bucket"]), ("s3", self.s3.bucket_url))
        for secret in [*secrets, "st%40r"]:
            self.assertNotIn(secret, done.output + str(self.lines))
        self.assertTrue((await self.bootstrap().format()).already_formatted)

    async def test_wrong_secret(self):
        """A wrong bucket secret fails with the server's reason, formats nothing, and shows no secret."""
        self.settings = replace(self.start_s3(), secret_key="quite-the-wrong-secret")
        failure = await self.assertFailure(self.bootstrap().format(), Failed)
        self.assertIn("SignatureDoesNotMatch", str(failure))
        self.assertIsNone(self.stored())
        for secret in ("quite-the-wrong-secret", self.s3.access_key, PASSWORD):
            self.assertNotIn(secret, str(failure) + str(self.lines))
