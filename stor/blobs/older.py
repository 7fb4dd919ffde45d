"""The indexes that the older software keeps: hints for what its objects do not say themselves."""

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from stor.blobs.files import Files, Hint
from stor.blobs.fragments import microseconds
from stor.blobs.rules import INDEX_NAME
from stor.errors import Missing, StorError, Unavailable
from stor.streams import whole

log = Logger()

MOST_BYTES = 1 << 30


class _File(msgspec.Struct):
    md5: str = ""
    is_deleted: bool = False
    version: int | None = None
    last_modified: str = ""


class _Index(msgspec.Struct):
    files: dict[str, _File] = {}


async def namespaces(files: Files) -> list[str]:
    """Find all indexes of a tree: the namespaces they are of, "" for the whole tree's own."""
    found, layout = list[str](), files.layout
    async for page in files.store.list(layout.files):
        paths = [layout.path(listed.key) for listed in page]
        found += [namespace_of(path) for path in paths if is_index(path)]
    return found


class Hints:
    """What all indexes of a tree say, read once, when it is first asked for."""

    def __init__(self, files: Files) -> None:
        self._files, self._lock = files, DeferredLock()
        self._said: dict[str, Hint] | None = None

    async def of(self, path: str) -> Hint | None:
        """Give what is said about a path; an index of a namespace counts more than that of the whole tree."""
        async with self._lock:
            if self._said is None:
                self._said = await self._read()
        return self._said.get(path)

    async def _read(self) -> dict[str, Hint]:
        found = dict[str, Hint]()
        for namespace in sorted(await namespaces(self._files)):
            head = namespace + "/" if namespace else ""
            found.update({head + path: _hint(file) for path, file in (await _read(self._files, namespace)).items()})
        return found


def is_index(path: str) -> bool:
    """Tell whether a key's path is that of an index, of the tree or of a namespace."""
    return path.rpartition("/")[2] == INDEX_NAME


def namespace_of(path: str) -> str:
    """Give the namespace of an index's path."""
    return path.rpartition("/")[0]


async def _read(files: Files, namespace: str) -> dict[str, _File]:
    key = files.layout.index(namespace)
    try:
        found = await files.store.get(key)
        return msgspec.json.decode(await whole(found.body, MOST_BYTES), type=_Index).files
    except Missing:
        return {}
    except Unavailable:
        raise
    except (msgspec.DecodeError, ValueError, StorError) as why:
        log.warn("the older index {key} cannot be read, and is not needed: {why}", key=key, why=str(why))
        return {}


def _hint(file: _File) -> Hint:
    return Hint(file.md5, file.is_deleted, file.version, microseconds(file.last_modified))
