"""The real juicefs: a volume made, mounted in the foreground, and unmounted in every case."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.places import folder
from tests.programs import program
from tests.servers import Server, clean_environment


def juicefs(password: str, *words: str, seconds: float = 60.0, **environment: str) -> str:
    """Run one of its commands to the end; what it said, on either output. AssertionError when it failed."""
    ended = subprocess.run(
        [program("juicefs"), *words],
        env=clean_environment(META_PASSWORD=password, **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    said = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, f"juicefs {words[0]} ended with {ended.returncode}:\n{said[-4000:]}"
    return said


def is_mounted(point: Path) -> bool:
    """Tell whether something is mounted there, without touching it: a dead mount would hang us."""
    return any(line.split()[1] == str(point) for line in Path("/proc/self/mounts").read_text().splitlines())


def unmount(point: Path) -> None:
    """Take a mount away whose process cannot do it any more."""
    if is_mounted(point):
        subprocess.run([program("fusermount3"), "-uz", str(point)], check=True, timeout=10)


class Mount(Server):
    """`juicefs mount` in the foreground, with a mount point and an empty cache of its own."""

    def __init__(self, meta: str, password: str) -> None:
        super().__init__()
        self._meta, self._password = meta, password
        self.point = self.folder / "volume"
        self.point.mkdir()

    def argv(self) -> Sequence[str]:
        """Nothing goes anywhere but to the volume; the password is in no argv."""
        quiet = ["--no-usage-report", "--no-syslog", "--no-agent", "--backup-meta", "0", "--metrics", "127.0.0.1:0"]
        cache = ["--cache-dir", str(self.folder / "cache")]
        return [program("juicefs"), "mount", *quiet, *cache, self._meta, str(self.point)]

    def environment(self) -> dict[str, str]:
        """The password goes here."""
        return clean_environment(META_PASSWORD=self._password)

    def answers(self) -> bool:
        """It says so, and the root of the volume is there."""
        return " is ready at " in self.output and self.point.stat().st_ino == 1

    def stop(self) -> None:
        """SIGTERM unmounts; when it does not, `kill` is what Server does next."""
        try:
            super().stop()
        finally:
            unmount(self.point)

    def kill(self) -> None:
        """End both of its processes; what they leave is a dead mount."""
        try:
            super().kill()
        finally:
            unmount(self.point)


class VolumeCase(SynchronousTestCase):
    """Tests of a volume; each starts what it needs, and all of it is gone afterwards."""

    def up(self, server):
        """Start a server for this test."""
        self.addCleanup(server.close)
        return server.start()

    def format(self, meta: str, password: str) -> None:
        """Make a volume whose bucket is a folder."""
        juicefs(password, "format", "--storage=file", f"--bucket={folder(self)}", meta, "end-to-end")
