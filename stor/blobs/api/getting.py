"""Files over HTTP for their readers: whole, by ranges, only when they changed, and as they were."""

from time import time

from stor.blobs.api.history import listed, version_in
from stor.blobs.api.reading import described, refuse_to_run
from stor.blobs.api.targets import target_of, tenant_of
from stor.blobs.rules import Entry, check_path
from stor.blobs.tenants import Trees
from stor.blobs.tree import Blob, Tree
from stor.errors import Unavailable
from stor.web.answer import Answer
from stor.web.call import Call
from stor.web.conditions import is_unchanged, range_applies
from stor.web.ranges import content_range, span

CONDITIONS = (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"range")
TRIES = 4  # for a file that changes between two looks at it
BUSY_SECONDS = 1.0


class Getting:
    """`GET` and `HEAD` of a file."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    async def get(self, call: Call, **_: str) -> Answer:
        """Answer with the file, a part of it, one of its versions or their list."""
        target = target_of(call.path)
        check_path(target.path)
        refuse_to_run(call)
        version = version_in(call, "version")
        async with self._trees.lend(tenant_of(call)) as tree:
            if "versions" in call.query:
                return await listed(tree, target)
            if call.method == "HEAD" or any(name in call.headers for name in CONDITIONS):
                return await _looked_at(call, tree, target.path, version)
            return _whole(await tree.get(target.path, version=version))


async def _looked_at(call: Call, tree: Tree, path: str, version: int | None) -> Answer:
    """Look first, and send then what was looked at; when it changed in between, look again."""
    for _ in range(TRIES):
        entry = await _entry(tree, path, version)
        etag, modified = f'"{entry.md5}"', entry.modified // 1_000_000
        if is_unchanged(call.header, etag, modified):
            return Answer(304, described(entry))
        if call.method == "HEAD":
            return Answer(200, described(entry), length=entry.size)
        applies = range_applies(call.header, etag, modified, int(time()))
        part = span(call.header("range"), entry.size) if applies else None
        blob = await tree.get(path, *(part or ()), version=version)
        if (blob.entry.version, blob.entry.md5) == (entry.version, entry.md5):
            return _whole(blob) if part is None else _part(blob, *part)
        _close(blob)
    raise Unavailable("The file changes too often to be read in parts", BUSY_SECONDS)


async def _entry(tree: Tree, path: str, version: int | None) -> Entry:
    if version is None:
        return await tree.head(path)
    blob = await tree.get(path, version=version)
    _close(blob)
    return blob.entry


def _whole(blob: Blob) -> Answer:
    return Answer(200, described(blob.entry), blob.body)


def _part(blob: Blob, start: int, stop: int) -> Answer:
    told = (b"content-range", content_range(start, stop, blob.entry.size))
    return Answer(206, [*described(blob.entry), told], blob.body)


def _close(blob: Blob) -> None:
    if not isinstance(blob.body, bytes):
        blob.body.close()
