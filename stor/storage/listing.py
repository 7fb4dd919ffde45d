"""The keys of a bucket in their order, also from a server that has another."""

from collections.abc import AsyncIterator, Sequence

from stor.storage import keys
from stor.storage.boto import Boto
from stor.storage.promise import Listed


async def in_order(boto: Boto, prefix: str, after: str) -> AsyncIterator[Sequence[Listed]]:
    """List from a server whose order is that of UTF-8, as AWS'; what no key of ours can be is left out."""
    page = await boto.page(prefix, after)
    while True:
        found = [listed for listed in page.keys if keys.is_path(listed.key)]
        if found:
            yield found
        if page.token is None:
            return
        page = await boto.page(prefix, token=page.token)


async def level_by_level(boto: Boto, prefix: str, after: str) -> AsyncIterator[Sequence[Listed]]:
    """List from a server that gives `a/b` before `a!`: a folder at a time, sorted here.

    It costs a request for each folder, and the memory for the largest one. Such a server (it keeps keys as files)
    also shows folders as keys that end with a slash, and takes `a//` for `a/`.
    """
    if not keys.may_begin(prefix):
        return
    waiting = [await _level(boto, prefix, after)]
    found: list[Listed] = []
    while waiting:
        if not waiting[-1]:
            waiting.pop()
            continue
        key, listed = waiting[-1].pop()
        if listed is None:
            waiting.append(await _level(boto, key, after))
            continue
        found.append(listed)
        if len(found) == 1000:
            yield found
            found = []
    if found:
        yield found


async def _level(boto: Boto, prefix: str, after: str) -> list[tuple[str, Listed | None]]:
    """Give what is beyond `after` in a folder, last first: keys, and what the keys in a subfolder begin with (None)."""
    level: dict[str, Listed | None] = {}
    token = None
    while True:
        page = await boto.page(prefix, token=token, delimiter="/")
        level |= {each.key: each for each in page.keys if each.key > after and keys.is_path(each.key)}
        level |= {below: None for below in page.prefixes if below > after or after.startswith(below)}
        token = page.token
        if token is None:
            return sorted(level.items(), key=lambda item: item[0], reverse=True)
