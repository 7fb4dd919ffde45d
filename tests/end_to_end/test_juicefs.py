"""A JuiceFS volume whose metadata goes through stor: what is written is what is read, whatever happens between."""

import re
import time
from errno import EIO

from tests.certificates import Authority
from tests.end_to_end.files import MIB, Writers, differing, digest_of, large, write, write_many
from tests.end_to_end.mounts import Mount, VolumeCase, is_mounted, juicefs
from tests.places import folder
from tests.proxies import ACL, PASSWORD, SECRET, USER, StorServer
from tests.servers import RedisServer, TlsRedisServer, free_port, wait_until


class Whole(VolumeCase):
    def setUp(self):
        redis = self.up(RedisServer(config_lines=ACL))
        proxy = self.up(StorServer(redis.url_as(USER, SECRET)))
        self.meta = f"redis://127.0.0.1:{proxy.port}/0"
        self.format(self.meta, PASSWORD)

    def test_many_files_and_a_large_one(self):
        """500 small files from 8 threads and one of 1 GiB read back the same through another mount."""
        with Mount(self.meta, PASSWORD) as mount:
            began = time.monotonic()
            small = write_many(mount.point, 500, threads=8)
            between = time.monotonic()
            whole = write(mount.point / "large", large(1024 * MIB))
            ended = time.monotonic()
        print(f"500 files in {between - began:.1f} s, 1 GiB in {ended - between:.1f} s")  # noqa: T201 - with pytest -s
        self.assertFalse(is_mounted(mount.point))
        with Mount(self.meta, PASSWORD) as mount:  # its cache is empty, so all comes from the bucket
            self.assertEqual(differing(mount.point, small), [])
            self.assertEqual(digest_of(mount.point / "large"), whole)

    def test_its_own_tools(self):
        """`juicefs bench` runs to its end, and `juicefs gc` finds no object that nobody knows."""
        with Mount(self.meta, PASSWORD) as mount:
            kept = write_many(mount.point, 20, threads=4)
            table = juicefs(PASSWORD, "bench", "--big-file-size=16M", "--small-file-count=20", "-p=1", str(mount.point))
            self.assertIn("Write small file", table)
            said = juicefs(
                PASSWORD, "gc", self.meta, JFS_GC_SKIPPEDTIME="0"
            )  # or it skips what is younger than an hour
            self.assertTrue(re.search(r"scanned \d+ objects, [1-9]\d* valid.* 0 leaked.* 0 skipped", said), said)
            self.assertEqual(differing(mount.point, kept), [])


class Encrypted(VolumeCase):
    def test_tls_on_both_legs(self):
        """Over TLS to stor and from stor to Redis, each with a private authority of its own, a volume works."""
        inside, outside = Authority(folder(self)), Authority(folder(self))
        redis = self.up(TlsRedisServer(config_lines=ACL, authority=inside))
        certificate, key = outside.certificate("stor")
        port = free_port()
        self.up(
            StorServer(
                redis.url_as(USER, SECRET).replace("redis:", "rediss:"),
                redis=f"""
                ca_file = '{inside.file}'
                [redis.tls]
                port = {port}
                cert_file = '{certificate}'
                key_file = '{key}'
                """,
            )
        )
        meta = f"rediss://127.0.0.1:{port}/0?tls-ca-cert-file={outside.file}"
        self.format(meta, PASSWORD)
        with Mount(meta, PASSWORD) as mount:
            small = write_many(mount.point, 100, threads=8)
            whole = write(mount.point / "large", large(32 * MIB))
        with Mount(meta, PASSWORD) as mount:
            self.assertEqual(differing(mount.point, small), [])
            self.assertEqual(digest_of(mount.point / "large"), whole)


class Interrupted(VolumeCase):
    # juicefs asks ten times before it gives up. Asking every second it is as patient as it must be here, and sees
    # within a second that all is well again; with its own times, which grow, that would be half a minute.
    BACKOFF = "min-retry-backoff=1s&max-retry-backoff=1s"
    AWAY = 3.0
    THREADS = 4

    def setUp(self):
        redis = self.up(RedisServer(config_lines=ACL))
        self.proxy = self.up(StorServer(redis.url_as(USER, SECRET), redis="drain_seconds = 1"))
        self.meta = f"redis://127.0.0.1:{self.proxy.port}/0?{self.BACKOFF}"
        self.format(self.meta, PASSWORD)
        self.mount = self.up(Mount(self.meta, PASSWORD))

    def test_files_wait_for_the_proxy(self):
        """Who writes while the proxy is away, stopped or killed, waits for it: no error, and all is right."""
        for leave in (self.terminate, self.proxy.kill):
            place = self.place(leave.__name__)
            leave()
            writers = self.writers(place)
            time.sleep(self.AWAY)
            self.assertEqual(writers.written, {})
            self.come_back(writers)
            writers.stop()
            self.assertEqual(writers.errors, [])
            self.assert_kept(place, writers)

    def test_cut_in_the_middle_of_writes(self):
        """Stopped and killed under load, the proxy costs no file: what was said to be kept is, and the rest can be.

        When a connection ends while EXEC is under way, juicefs cannot know what became of it; it asks ten times on
        that same connection and gives EIO. So it does without a proxy too; no thread may see more than one a cut.
        """
        place = self.place("busy")
        writers = self.writers(place)
        self.wait_for_more(writers)
        for leave in (self.terminate, self.proxy.kill):
            leave()
            time.sleep(self.AWAY / 3)
            before = len(writers.written)
            time.sleep(self.AWAY * 2 / 3)
            self.assertEqual(len(writers.written), before, "somebody wrote without a proxy")
            self.come_back(writers)
        writers.stop()
        self.assertLessEqual({why.errno for why in writers.errors}, {EIO})
        self.assertLessEqual(len(writers.errors), 2 * self.THREADS)
        self.assert_kept(place, writers)

    def place(self, name):
        """Make a folder in the volume."""
        (self.mount.point / name).mkdir()
        return name

    def writers(self, place):
        writers = Writers(self.mount.point / place, self.THREADS)
        self.addCleanup(writers.stop)
        return writers

    def terminate(self):
        """Stop the proxy in its orderly way."""
        self.proxy.process.terminate()
        self.assertEqual(self.proxy.wait_for_exit(10), 0)

    def come_back(self, writers):
        self.proxy.start()
        self.wait_for_more(writers)

    def wait_for_more(self, writers):
        enough = len(writers.written) + 40
        wait_until(lambda: len(writers.written) >= enough, 40)

    def assert_kept(self, place, writers):
        """Every file is right, also for a mount that has nothing in its cache."""
        for mount in (self.mount, self.up(Mount(self.meta, PASSWORD))):
            self.assertEqual(differing(mount.point / place, writers.written), [])
