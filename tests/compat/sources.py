"""The suites' sources, fetched once into the work folder: Redis by apt, redis-py by pip."""

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.servers import program

FETCH_SECONDS = 300.0
REDIS_PY = "redis==8.1.0"
# What redis-py's dev_requirements.txt asks for, as far as the tests that we run need it.
REDIS_PY_NEEDS = (
    "pytest==9.2.0",
    "pytest-asyncio==1.5.0",
    "pytest-timeout==2.4.0",
    "redis-entraid==1.2.2",
    "cryptography",
    "numpy",
    "packaging",
    "pybreaker",
    "ujson",
    "xxhash",
)


def redis_source(work: Path) -> Path:
    """Give the folder of Redis's source: from this machine's package sources, its apt state untouched."""
    folder = work / "redis-source"
    if not (found := sorted(folder.glob("redis-*/runtest"))):
        folder.mkdir(parents=True, exist_ok=True)
        options = _apt_options(work / "apt")
        program("dpkg-source")  # apt-get unpacks with it
        # A foreign source without deb-src makes this fail, yet the others have come: the next line tells.
        subprocess.run(["apt-get", *options, "update"], timeout=FETCH_SECONDS, stdout=sys.stderr, check=False)
        _fetch(["apt-get", *options, "source", "redis"], cwd=folder)
        found = sorted(folder.glob("redis-*/runtest"))
    return found[-1].parent


def _apt_options(folder: Path) -> list[str]:
    """Write a copy of the machine's package sources that asks for sources; keep apt's state beside it."""
    lists = folder / "sources.list.d"
    for part in (lists, folder / "lists" / "partial", folder / "cache"):
        part.mkdir(parents=True, exist_ok=True)
    here = Path("/etc/apt")
    for file in [here / "sources.list", *(here / "sources.list.d").glob("*")]:
        if file.is_file() and file.suffix in {".list", ".sources"}:
            (lists / file.name).write_text(deb_src(file.read_text()))
    return [
        f"-oDir::Etc::SourceList={os.devnull}",
        f"-oDir::Etc::SourceParts={lists.resolve()}",
        f"-oDir::State::lists={(folder / 'lists').resolve()}",
        f"-oDir::Cache={(folder / 'cache').resolve()}",
        "-oAPT::Sandbox::User=root",  # the work folder need not be readable by another user
    ]


def deb_src(text: str) -> str:
    """Turn a list of binary packages, in either of apt's two forms, into one of their sources."""
    kept = [line for line in text.splitlines() if not line.startswith("deb-src")]
    return "".join(re.sub(r"^deb\b|^Types:.*", _as_source, line) + "\n" for line in kept)


def _as_source(match: re.Match[str]) -> str:
    return "deb-src" if match[0] == "deb" else "Types: deb-src"


def redis_py(work: Path) -> Path:
    """Give the folder of redis-py's source archive."""
    folder = work / "redis-py"
    name = REDIS_PY.replace("==", "-")
    if not (folder / name / "tests").is_dir():
        download = ["download", "--quiet", "--no-binary", ":all:", "--no-deps", "--dest", str(folder)]
        _fetch([sys.executable, "-m", "pip", *download, REDIS_PY])
        with tarfile.open(folder / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return folder / name


def redis_py_python(work: Path) -> Path:
    """Give an interpreter that has what redis-py's tests need, in an environment of their own."""
    folder = work / "redis-py" / "venv"
    python, done = folder / "bin" / "python", folder / "complete"
    if not done.exists():
        _fetch([sys.executable, "-m", "venv", "--clear", str(folder)])
        _fetch([str(python), "-m", "pip", "install", "--quiet", *REDIS_PY_NEEDS])
        done.touch()
    return python


def _fetch(argv: Sequence[str], cwd: Path | None = None) -> None:
    """Run one step; what it prints goes to standard error."""
    subprocess.run(argv, cwd=cwd, timeout=FETCH_SECONDS, stdout=sys.stderr, check=True)
