"""What is kept in `~/.stor/dokku`: one deployment, in a file that only its owner can read."""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from stor.errors import BadRequest, ConfigError, Conflict

HOST = re.compile(r"(?:[a-z_][a-z0-9_-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*", re.ASCII)
APP = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
IMAGE = re.compile(r"[a-z0-9][a-z0-9.:-]*(?:/[a-z0-9._-]+)*", re.ASCII)
VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)  # a Docker tag


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which version of which image runs as which app on which host, with which settings.

    None of the names can be taken for an option or for more than one word, here or in a shell of the host.
    """

    host: str
    app: str
    branch: str
    image: str
    version: str
    settings: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        rules = (HOST, self.host, "host"), (APP, self.app, "app"), (BRANCH, self.branch, "branch")
        for rule, value, name in (*rules, (IMAGE, self.image, "image"), (VERSION, self.version, "version")):
            if rule.fullmatch(value) is None:
                raise BadRequest(f"{value!r} is no name of a {name}")

    @property
    def target(self) -> str:
        """Whom ssh calls: Dokku's own user, unless another one was named."""
        return self.host if "@" in self.host else f"dokku@{self.host}"

    @property
    def is_local(self) -> bool:
        """Whether the blobs are on the host itself."""
        return not self.settings.get("S3_BUCKET")


def home() -> Path:
    """The folder of it all."""
    return Path.home() / ".stor" / "dokku"


def load(folder: Path) -> Deployment | None:
    """Read what is kept; None when nothing is. ConfigError when it cannot be read."""
    path = folder / "config.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Deployment)
    except FileNotFoundError:
        return None
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    except (msgspec.DecodeError, BadRequest) as why:
        raise ConfigError(f"{path}: {why}") from None


def save(folder: Path, deployment: Deployment) -> None:
    """Keep it: the whole of it or what was there before, readable by nobody else; durable when this returns."""
    text = msgspec.json.format(msgspec.json.encode(deployment), indent=2)
    temporary = None
    try:
        with NamedTemporaryFile(dir=folder, prefix=".config-", delete=False) as file:  # mode 0600
            temporary = Path(file.name)
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / "config.json")
        _sync(folder)
    except OSError as why:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise ConfigError(f"{folder / 'config.json'}: {why.strerror}") from None


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Make the folder, for this user alone, and hold it against a second `stor dokku`: that one is a Conflict."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as why:
        raise ConfigError(f"{folder}: {why.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"another `stor dokku` is at work in {folder}") from None
        yield
    finally:
        os.close(lock)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
