"""Files over HTTP, in both dialects: get, put, delete."""

import re
from contextlib import ExitStack

from stor.blobs.api.index import indexed
from stor.blobs.api.preconditions import deletion, namespaced_put, plain_put
from stor.blobs.api.reading import marks
from stor.blobs.api.targets import Target, target_of, tenant_of
from stor.blobs.rules import Condition, Entry, check_path
from stor.blobs.tenants import Trees
from stor.blobs.tree import Tree, Written
from stor.errors import BadRequest, TooLarge
from stor.streams.spool import Spool
from stor.web.answer import Answer, Header
from stor.web.call import Call

_TYPE = re.compile(r"[\x20-\x7e]{1,255}")


class Files:
    """The handlers of `/blob/{path}` and `/{namespace}/blob/{path}`; a file has at most `most` bytes."""

    def __init__(self, trees: Trees, most: int) -> None:
        self._trees, self._most = trees, most

    def spool(self, call: Call) -> Spool:
        """Take a body only for what can be written: everything that the header shows to be wrong is refused here."""
        target = target_of(call.path)
        check_path(target.path)
        content_type(call)
        wish(call, target)
        tenant_of(call)
        if call.header("content-range") is not None:  # RFC 9110, 14.5: to take a part for the whole would lose the rest
            raise BadRequest("A file is written whole: Content-Range is not understood")
        if (call.announced or 0) > self._most:
            raise TooLarge(f"A file has at most {self._most} bytes")
        return self._trees.spool(self._most)

    async def put(self, call: Call, **_: str) -> Answer:
        """Replace the file whole."""
        target, body = target_of(call.path), call.body
        if not isinstance(body, Spool):
            raise TypeError("a file comes in a spool")
        with ExitStack() as unless:
            unless.callback(body.discard)
            _compare(call, target, body)
            condition, kind = wish(call, target), content_type(call)
            async with self._trees.lend(tenant_of(call)) as tree:
                unless.pop_all()  # from here on the body is the tree's
                written = await tree.put(
                    target.path, body, content_type=kind, condition=condition, namespace=target.namespace
                )
                return await answered(call, tree, target, written)

    async def delete(self, call: Call, **_: str) -> Answer:
        """Leave a tombstone."""
        target, condition = target_of(call.path), deletion(call.header)
        check_path(target.path)
        async with self._trees.lend(tenant_of(call)) as tree:
            entry = await tree.delete(target.path, condition, namespace=target.namespace)
            if target.namespace is None:
                return Answer(204, [_version(entry)])
            return await indexed(call, await tree.view(target.namespace), 200, [_version(entry)])


async def answered(call: Call, tree: Tree, target: Target, written: Written) -> Answer:
    """Answer a write in its dialect: with nothing, or with the whole index."""
    status = 201 if written.created else 200
    if target.namespace is None:
        return Answer(status, marks(written.entry))
    return await indexed(call, await tree.view(target.namespace), status, marks(written.entry))


def wish(call: Call, target: Target) -> Condition:
    """Read a put's preconditions in its dialect."""
    return (plain_put if target.namespace is None else namespaced_put)(call.header)


def content_type(call: Call) -> str | None:
    """Give the type to keep; BadRequest for one that a store could not carry."""
    kind = call.header("content-type")
    if kind and not _TYPE.fullmatch(kind):
        raise BadRequest("A Content-Type is at most 255 printable ASCII characters")
    return kind or None


def _compare(call: Call, target: Target, body: Spool) -> None:
    """In the namespaced dialect Content-MD5 is the payload's."""
    said = call.header("content-md5") if target.namespace is not None else None
    if said is not None and said.strip().lower() != body.digests["md5"]:
        raise BadRequest("Content-MD5 does not match the content")


def _version(entry: Entry) -> Header:
    return (b"x-version", b"%d" % entry.version)
