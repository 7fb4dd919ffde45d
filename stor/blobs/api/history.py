"""Old versions of a file over HTTP: list them, and make one the current again."""

import re

from stor.blobs.api.files import answered
from stor.blobs.api.preconditions import Invalid, optional
from stor.blobs.api.shapes import History, kept
from stor.blobs.api.targets import Target, target_of, tenant_of
from stor.blobs.rules import check_path
from stor.blobs.tenants import Trees
from stor.blobs.tree import Tree
from stor.web.answer import Answer, json_answer
from stor.web.call import Call

_INTEGER = re.compile(r"[0-9]{1,18}")


class Restoring:
    """`POST {file}?restore=VERSION`."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    async def restore(self, call: Call, **_: str) -> Answer:
        """Put the bytes of an old version again."""
        target, condition = target_of(call.path), optional(call.header)
        check_path(target.path)
        version = version_in(call, "restore")
        if version is None:
            raise Invalid("missing", ("query", "restore"), "Field required", None)
        async with self._trees.lend(tenant_of(call)) as tree:
            written = await tree.restore(target.path, version, condition, namespace=target.namespace)
            return await answered(call, tree, target, written)


async def listed(tree: Tree, target: Target) -> Answer:
    """Answer with all versions of a file, newest first."""
    versions = await tree.versions(target.path)
    return json_answer(History(target.path, [kept(entry) for entry in versions]))


def version_in(call: Call, name: str) -> int | None:
    """Read a version from the query; 422 when it is none."""
    given = call.query.get(name)
    if given is None:
        return None
    if not _INTEGER.fullmatch(given):
        raise Invalid("int_parsing", ("query", name), "Input should be a valid integer", given[:64])
    return int(given)
