"""A volume to be: a real Redis, a bucket, and somebody who looks for secrets."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import redis
from twisted.internet import reactor
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from stor.volume.bootstrap import Bootstrap
from stor.volume.juicefs import BucketSettings, MetaUrl
from tests.places import folder
from tests.servers import RedisServer, S3Server

PASSWORD = "p@ss:w/rd%25 é$#"  # what breaks when somebody puts it into a URL
USER = "st@r"


class Watch:
    """Looks at every command line of this machine while something runs."""

    def __init__(self, secrets):
        self._secrets = [secret.encode() for secret in secrets]
        self.found, self.seen, self._over = [], 0, False

    def __enter__(self):
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over = True
        self._thread.join()

    def _look(self):
        while not self._over:
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    argv = place.read_bytes()
                except OSError:
                    continue
                self.seen += argv.split(b"\0")[0].endswith(b"juicefs")
                self.found += [secret for secret in self._secrets if secret in argv]
            time.sleep(0.005)


class Volume(TestCase):
    """A real Redis with the default user locked, the real juicefs, a folder for a bucket."""

    timeout = 60

    def setUp(self):
        self.redis = self.start(
            RedisServer(config_lines=["user default off", f'user {USER} on ">{PASSWORD}" ~* &* +@all'])
        )
        self.meta = MetaUrl("127.0.0.1", self.redis.port, 3, USER, PASSWORD)
        self.settings = BucketSettings("file", str(folder(self)), name="first")
        self.probed, self.lines = 0, []
        globalLogPublisher.addObserver(self.lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.lines.append)

    def start(self, server):
        self.addCleanup(server.close)
        return server.start()

    async def probe(self):
        self.probed += 1

    def bootstrap(self, meta=None, **changes):
        settings = replace(self.settings, **changes)
        return Bootstrap(meta or self.meta, settings, self.probe, reactor)

    def stored(self, meta=None):
        """What is in Redis, asked without juicefs."""
        meta = meta or self.meta
        with redis.Redis("127.0.0.1", self.redis.port, meta.database, PASSWORD, username=USER) as client:
            found = client.get("setting")
        return None if found is None else json.loads(found)

    def start_s3(self):
        self.s3 = self.start(S3Server("jfs"))
        return BucketSettings(
            "s3", self.s3.bucket_url, self.s3.access_key, self.s3.secret_key, name="first", seconds=30
        )
