"""The tour as a person takes it: `make run`'s command, and then what it tells one to type, as it stands."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from json import loads
from pathlib import Path

from tests.end_to_end.mounts import VolumeCase, is_mounted, unmount
from tests.places import folder
from tests.programs import program
from tests.proxies import ROOT
from tests.servers import Server, clean_environment, free_port, wait_until
from tests.volume.volumes import Watch

POINT = "/tmp/stor-volume"  # what the tour proposes; in a test, another tour may be using it
CACHE = Path("/var/jfsCache")  # where juicefs keeps its cache when root runs it and nothing else is said


class Tour(Server):
    """`twistd -n stor --config stor.example.toml run` in a folder of its own, on ports that are free."""

    def __init__(self) -> None:
        super().__init__()
        example = (ROOT / "stor.example.toml").read_text()
        for shown, free in (("# port = 6379", self.port), ("# port = 8080", free_port())):
            assert example.count(shown) == 1
            example = example.replace(shown, f"port = {free}")
        (self.folder / "stor.example.toml").write_text(example)

    def argv(self) -> Sequence[str]:
        """Say what to run."""
        return [program("twistd"), "-n", "stor", "--config", "stor.example.toml", "run"]

    def environment(self) -> dict[str, str]:
        """The tree under test, and nothing else."""
        return clean_environment(PYTHONPATH=str(ROOT))

    def answers(self) -> bool:
        """It has said all, and everything is up."""
        return "Ctrl-C ends it." in self.output and " is up" in self.output

    @property
    def commands(self) -> list[str]:
        """What it tells one to type."""
        return re.findall(r"^  (\S.*)$", self.output, re.MULTILINE)

    @property
    def password(self) -> str:
        """What nobody may see but who reads the file."""
        return (self.folder / "stor-data" / "proxy-password").read_text().strip()

    @property
    def key(self) -> str:
        """What may do everything over HTTP; shown once, when it is made."""
        return (self.folder / "stor-data" / "admin-key").read_text().strip()

    @property
    def volume(self) -> str:
        """The UUID of its volume."""
        return (self.folder / "stor-data" / "bucket" / "sharedvol" / "juicefs_uuid").read_text().strip()

    def family(self) -> dict[int, str]:
        """Its process and all below it: pid and command line."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(stat.parent.name)] = int(words[1])
        found = [self.process.pid]
        for pid in found:  # grows while it is walked
            found += [child for child, parent in parents.items() if parent == pid]
        return {pid: Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in found}


class TourCase(VolumeCase):
    def test_everything_it_tells_to_type(self):
        """A blob, PONG, a volume, a file in it; then SIGTERM, and nothing is left. No secret is in a command line."""
        tour = self.up(Tour())
        put, sync, ping, bootstrap, mount = tour.commands
        with Watch([tour.password, tour.key]) as watch:
            self.assertEqual(self.type(put), "")
            self.assertEqual(list(loads(self.type(sync))["files"]), ["notes/hello.txt"])
            self.assertEqual(self.type(ping), "PONG\n")
            self.assertEqual(set(self.bootstrap(bootstrap)), {"success", "output"})
            self.addCleanup(shutil.rmtree, CACHE / tour.volume, ignore_errors=True)
            self.assertTrue(self.bootstrap(bootstrap)["already_formatted"])
            with_file = self.mounted(mount, lambda point: (point / "file").write_text("kept"))
            self.assertEqual(with_file, 4)
        self.assertGreater(watch.seen, 0)
        self.assertEqual(watch.found, [])
        self.ends(tour)
        self.assertEqual(tour.output.count(tour.key), 1)
        tour.start()
        self.assertEqual(list(loads(self.type(sync))["files"]), ["notes/hello.txt"])
        self.assertTrue(self.bootstrap(bootstrap)["already_formatted"])
        self.assertEqual(self.mounted(mount, lambda point: (point / "file").read_text()), "kept")
        self.ends(tour)

    def bootstrap(self, command):
        answer = loads(self.type(command))
        self.assertTrue(answer["success"], answer)
        return answer

    def type(self, command):
        """Run a command in a shell, from another folder; what it printed."""
        ended = subprocess.run(
            ["sh", "-c", command],
            cwd=folder(self),
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def mounted(self, command, act):
        """Type the command that mounts, act on the volume, and press Ctrl-C; what `act` gave."""
        place = folder(self)
        point = place / "volume"
        self.assertEqual(command.count(POINT), 2)
        command = command.replace(POINT, str(point))
        with (place / "output").open("wb") as output:
            shell = subprocess.Popen(
                ["sh", "-c", command],
                cwd=place,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.addCleanup(unmount, point)
        try:
            wait_until(lambda: is_mounted(point) and point.stat().st_ino == 1, 20)
            return act(point)
        finally:
            os.killpg(shell.pid, signal.SIGINT)  # as a terminal does: to the shell and to all it runs
            shell.wait(20)
            wait_until(lambda: not is_mounted(point), 20)

    def ends(self, tour):
        """Nothing of it is left after SIGTERM but its data, and it has kept its secrets."""
        family, said = tour.family(), tour.output
        self.assertEqual(len(family), 2, family)  # it, and the redis-server
        self.assertNotRegex(" ".join(family.values()), "[0-9a-f]{32}")  # as both of its passwords are
        tour.process.terminate()
        self.assertEqual(tour.process.wait(20), 0)
        self.assertNotIn(tour.password, said + tour.output)
        self.assertEqual([pid for pid in family if Path(f"/proc/{pid}").exists()], [])
