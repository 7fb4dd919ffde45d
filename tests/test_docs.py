"""What can be set is written down, and what is written down works."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import fields
from twisted.trial.unittest import SynchronousTestCase

from stor.config import Config, load
from stor.config.older import NAMES, PARTS
from stor.config.shape import User
from stor.config.sources import is_section
from tests.places import folder

ROOT = Path(__file__).parent.parent
OPERATING = (ROOT / "docs/operating.md").read_text()
EXAMPLE = (ROOT / "stor.example.toml").read_text()


def keys(kind: type, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in fields(kind):
        path = (*place, field.name)
        if field.name == "users":
            yield from keys(User, (*path, "NAME"))
        elif is_section(field.type):
            yield from keys(field.type, path)
        else:
            yield path


def shell_blocks() -> Iterator[tuple[Path, str]]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            yield page, block


class SettingTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each key stands in the table of docs/operating.md, and no other does."""
        table = OPERATING.partition("## Configuration")[2].partition("### Older names")[0]
        rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
        said = [key for row in rows for key in re.findall(r"`([^`]+)`", row)]
        self.assertEqual(sorted(said), sorted(".".join(path) for path in keys(Config)))

    def test_defaults(self) -> None:
        """Numbers in the table are the defaults."""
        empty = folder(self) / "stor.toml"
        empty.touch()
        config = load(empty, {})
        for key, default in re.findall(r"^\| `([a-z_.]+)` \| `(\d+)` \|", OPERATING, re.MULTILINE):
            found: object = config
            for name in key.split("."):
                found = getattr(found, name)
            self.assertEqual(found, float(default), key)

    def test_example(self) -> None:
        """Each key stands in stor.example.toml, set or behind a `#`, in its section."""
        open_all = re.sub(r"^# (?=(\[|[a-z0-9_]+ = ))", "", EXAMPLE, flags=re.MULTILINE)
        tree = tomllib.loads(open_all.replace("[redis.users.alice]", "[redis.users.NAME]"))
        for path in keys(Config):
            found = tree
            for name in path:
                self.assertIn(name, found, ".".join(path))
                found = found[name]

    def test_example_loads(self) -> None:
        """The tour is right as it stands: on loopback, with nothing from outside."""
        example = folder(self) / "stor.toml"
        example.write_text(EXAMPLE)
        config = load(example, {})
        self.assertEqual((config.web.host, config.redis.host), ("127.0.0.1", "127.0.0.1"))
        self.assertEqual((config.redis.server, config.volume.storage), ("local", "file"))

    def test_environment(self) -> None:
        """Each older name is told in docs/operating.md and .env.example; each STOR_ name there is one."""
        dotenv = (ROOT / ".env.example").read_text()
        for name in (*NAMES, *PARTS):
            self.assertIn(f"`{name}`", OPERATING)
            self.assertRegex(dotenv, rf"(?m)^#? ?{name}=")
        known = {"STOR_" + "__".join(path).upper() for path in keys(Config)}
        self.assertLessEqual(set(re.findall(r"(?m)^#? ?(STOR_[A-Z0-9_]+)=", dotenv)), known)


class PageTests(SynchronousTestCase):
    def test_shell(self) -> None:
        """Each block of shell parses."""
        blocks = list(shell_blocks())
        self.assertGreater(len(blocks), 2)
        for page, block in blocks:
            done = subprocess.run(["sh", "-n"], input=block.encode(), capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, f"{page}: {done.stderr.decode()}")

    def test_make(self) -> None:
        """Each `make` that a page shows is a target."""
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for page, block in shell_blocks():
            for target in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE):
                self.assertIn(target, targets, page)

    def test_links(self) -> None:
        """Each link between our pages leads somewhere."""
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                self.assertTrue((page.parent / link).exists(), f"{page}: {link}")
