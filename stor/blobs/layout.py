"""Where in the store a tree keeps what: see docs/protocols/blob-index.md."""

from dataclasses import dataclass
from hashlib import sha256

from stor.blobs.rules import INDEX_NAME
from stor.errors import BadRequest

_OURS = ".stor"


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one tree; `prefix` is without a slash at its end."""

    prefix: str

    def __post_init__(self) -> None:
        if not self.prefix or any(not part or part.endswith(_OURS) for part in self.prefix.split("/")):
            raise BadRequest(f"a tree's name cannot be empty, nor end in {_OURS}")

    @property
    def files(self) -> str:
        """What the keys of all files begin with."""
        return f"{self.prefix}/"

    @property
    def log(self) -> str:
        """What the keys of all segments begin with."""
        return f"{self.prefix}{_OURS}/log/"

    @property
    def snapshots(self) -> str:
        """What the keys of all snapshots begin with."""
        return f"{self.prefix}{_OURS}/snapshot/"

    @property
    def histories(self) -> str:
        """What the keys of all old versions begin with."""
        return f"{self.prefix}{_OURS}/history/"

    def file(self, path: str) -> str:
        """Give the key of a file."""
        return f"{self.prefix}/{path}"

    def path(self, key: str) -> str:
        """Give the path of a file's key."""
        return key.removeprefix(self.files)

    def index(self, namespace: str) -> str:
        """Give the key of the index that the older software reads; of the whole tree for no namespace."""
        return f"{self.prefix}/{namespace}/{INDEX_NAME}" if namespace else f"{self.prefix}/{INDEX_NAME}"

    def segment(self, number: int) -> str:
        """Give the key of a segment of the log."""
        return f"{self.log}{number:012d}"

    def snapshot(self, number: int) -> str:
        """Give the key of what the segments up to `number` add up to."""
        return f"{self.snapshots}{number:012d}"

    def history(self, path: str) -> str:
        """Give what the keys of a path's old versions begin with."""
        return f"{self.histories}{sha256(path.encode()).hexdigest()[:32]}/"

    def old(self, path: str, version: int) -> str:
        """Give the key of one old version of a path."""
        return f"{self.history(path)}{version:016d}"


def number_of(key: str) -> int:
    """Give the number at the end of a segment's, a snapshot's or an old version's key; -1 when there is none."""
    digits = key.rpartition("/")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else -1
