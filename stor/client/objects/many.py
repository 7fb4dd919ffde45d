"""Many objects: those below a folder or a name, a few at a time, and one that fails keeps nobody from the rest."""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from stor.client.hands import Hands, each
from stor.client.objects.arriving import SUFFIX
from stor.client.objects.held import Shown
from stor.client.objects.names import Id, Name, Ref
from stor.client.objects.remote import RemoteObjects
from stor.errors import BadRequest, Denied, Full, StorError, TooMany, Unavailable

T = TypeVar("T")

WIDTH = 8  # at a time
BATCH = 1000
_ENDS_ALL = (BrokenPipeError, Denied, Full, TooMany, Unavailable)  # the next one would fare no better
_UNFIT = re.compile(rf"(?:^|/)\.{{0,2}}(?:/|$)|\x00|{re.escape(SUFFIX)}(?:/|$)")


async def every(
    batches: AsyncIterator[Sequence[T]],
    do: Callable[[T], Awaitable[None]],
    failed: Callable[[T, StorError | OSError], object],
) -> None:
    """Do all of them; `failed` hears of each that could not be done, except for what ends everything."""

    async def one(job: T) -> None:
        try:
            await do(job)
        except _ENDS_ALL:
            raise
        except (StorError, OSError) as why:
            failed(job, why)

    async for batch in batches:
        await each(batch, one, WIDTH)


async def these(jobs: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Give what is known already."""
    yield jobs


async def files_below(folder: Path, hands: Hands, passed: Callable[[Path, str], object]) -> AsyncIterator[list[Path]]:
    """Give the files below a folder; `passed` hears of what is none, or cannot be looked at."""
    found = _walk(folder, passed)
    while batch := await hands.run(lambda: list(islice(found, BATCH))):
        yield batch


def _walk(folder: Path, passed: Callable[[Path, str], object]) -> Iterator[Path]:
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    path = here / entry.name
                    if entry.is_symlink():
                        passed(path, "a symbolic link")
                    elif entry.is_dir():
                        folders.append(path)
                    elif entry.is_file():
                        yield path
                    else:
                        passed(path, "no regular file")
        except OSError as why:
            if here == folder:
                raise
            passed(here, why.strerror or "cannot be read")


async def objects_below(store: RemoteObjects, where: Name) -> AsyncIterator[list[Shown]]:
    """Give the objects whose keys begin with the folder that a name means."""
    async for page in store.pages(Name(where.namespace, where.tenant, where.folder)):
        yield page.objects


def ref_of(shown: Shown) -> Ref:
    """Give what the object is called by: its key, or its id when it has none."""
    return shown.name if shown.key else Id(shown.id)


def key_of(path: Path, folder: Path) -> str:
    """Give the key of a file below a folder; BadRequest when its name cannot be one."""
    key = path.relative_to(folder).as_posix()
    try:
        key.encode()
    except UnicodeEncodeError:
        raise BadRequest("the name is not UTF-8") from None
    return key


def path_of(key: str, folder: Path) -> Path:
    """Give the file of a key below a folder; BadRequest when it would lie elsewhere, or nowhere, or in a part."""
    if not key or _UNFIT.search(key):
        raise BadRequest("its key is no path of a file; it can be fetched by itself, into a file that is named")
    return folder / key
