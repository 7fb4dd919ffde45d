"""What `pip install` gives."""

import shutil
import sys
import zipfile
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from stor import __version__
from stor.children import clean_environment, run
from tests.places import folder

ROOT = Path(__file__).parent.parent
SOURCES = ("stor", "twisted", "setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE")


class WheelTests(TestCase):
    timeout = 120

    async def test_wheel(self) -> None:
        """A wheel has each module, the plugin and the command; from it alone twistd finds stor."""
        place = folder(self)
        (place / "source").mkdir()
        for name in SOURCES:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, place / "source" / name)
        build = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(place), str(place / "source")]
        ended = await run([sys.executable, *build], clean_environment({}), 100, reactor)
        self.assertEqual(ended.code, 0, ended.err.decode())
        (wheel,) = place.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            names = set(packed.namelist())
            packed.extractall(place / "site")
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "stor").rglob("*.py")}
        self.assertLessEqual(modules | {"twisted/plugins/stor_plugin.py"}, names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)
        (entries,) = place.glob("site/*.dist-info/entry_points.txt")
        self.assertIn("stor = stor.cli:main", entries.read_text())
        script = "import stor; print(stor.__file__); from twisted.scripts.twistd import run; run()"
        argv = [
            "sh",
            "-c",
            'cd "$0" && exec "$@"',
            str(place),
            sys.executable,
            "-c",
            script,
            "stor",
            "--version",
        ]
        ended = await run(argv, clean_environment({"PYTHONPATH": str(place / "site")}), 30, reactor)
        self.assertEqual(ended.out.decode(), f"{place / 'site/stor/__init__.py'}\nstor {__version__}\n")
