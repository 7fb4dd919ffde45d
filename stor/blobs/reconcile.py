"""Comparing all objects with the index: repairs what a crash left, and takes over buckets of older software."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from stor.blobs import older
from stor.blobs.files import no_hint
from stor.blobs.records import Namespace, Purge, Put, Record
from stor.blobs.roots import Roots
from stor.blobs.rules import check_path
from stor.blobs.settling import correction
from stor.blobs.stored import is_telling
from stor.blobs.waiting import spread
from stor.errors import BadRequest, Full, StorError, Unavailable
from stor.storage.promise import Listed

WIDTH = 16
"""Objects looked at at once."""
TOLD = 100
"""Unreadable objects that are named in the log."""
RECENT_SECONDS = 86_400.0
LATE_SECONDS = 5.0
"""An object put so much later than its entry says, and recently, is looked at whatever its etag."""

Work = Callable[[str], Coroutine[Any, Any, None]]
log = Logger()


@dataclass(slots=True)
class Comparison:
    """What a comparison came upon: objects, those the index did not show rightly, keys that are no paths of files.

    `unreadable`: objects that the store lists but does not give; the index goes on showing what it showed.
    """

    objects: int = 0
    corrected: int = 0
    strange: int = 0
    unreadable: int = 0


class Reconciler:
    """Makes the whole index show what the objects say, beside any number of writers."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    async def run(self, progress: Callable[[Comparison], None]) -> Comparison:
        """Compare all. When it returns, the index has shown each object as it was at some moment since the call.

        `progress` is called now and then. Raises Full when there are more files than the tree may have.
        """
        found = Comparison()
        await self._roots.journal.tail()
        files = self._roots.files
        files.hint = older.Hints(files).of
        try:
            await self._compare(found, progress)
        finally:
            files.hint = no_hint
        return found

    async def _compare(self, found: Comparison, progress: Callable[[Comparison], None]) -> None:
        shown = _Walk(sorted(entry.path for entry in self._roots.replica))
        layout = self._roots.files.layout
        async for page in self._roots.files.store.list(layout.files):
            await self._note([layout.path(listed.key) for listed in page])
            objects = list(self._objects(page, found))
            for path, _ in objects:
                shown.reach(path)
            await self._settle(shown.passed(), found)
            await self._correct(objects, found)
            found.objects += len(objects)
            progress(found)
        shown.finish()
        await self._settle(shown.passed(), found)

    async def _note(self, paths: Sequence[str]) -> None:
        """Have the journal know the namespaces that have an index for the older software."""
        there = {older.namespace_of(path) for path in paths if older.is_index(path)}
        new = there - self._roots.replica.namespaces - {""}
        if new:
            await self._roots.journal.append([Namespace(name) for name in sorted(new)])

    def _objects(self, page: Sequence[Listed], found: Comparison) -> Iterator[tuple[str, Listed]]:
        layout = self._roots.files.layout
        for listed in page:
            path = layout.path(listed.key)
            if older.is_index(path):
                continue
            try:
                check_path(path, layout.prefix)
            except BadRequest:
                found.strange += 1
            else:
                yield path, listed

    async def _correct(self, objects: Sequence[tuple[str, Listed]], found: Comparison) -> None:
        """Look at what differs, and append all corrections of a page at once; what is not taken is settled singly."""
        records, odd = list[Record](), list[str]()

        async def look(path: str) -> None:
            shown = self._roots.replica.get(path)
            there = await self._roots.files.look(path, shown)
            if self._roots.settler.agree(shown, there):
                return
            if shown is not None and (there is None or self._roots.settler.must_be_stamped(shown, there)):
                odd.append(path)
            else:
                records.append(correction(path, shown, there))

        await spread(
            _passing_over(look, found), [path for path, listed in objects if self._differs(path, listed)], WIDTH
        )
        self._check_room(records)
        taken = await self._roots.journal.append(records) if records else []
        found.corrected += sum(taken)
        untaken = [record for record, fine in zip(records, taken, strict=True) if not fine]
        await self._settle(odd + [each.path for each in untaken if isinstance(each, Put | Purge)], found)

    def _differs(self, path: str, listed: Listed) -> bool:
        """Tell whether an object must be looked at: its etag is another, or says nothing, or may have come again."""
        shown = self._roots.replica.get(path)
        if shown is None or shown.etag != listed.etag or not is_telling(listed.etag):
            return True
        is_recent = listed.modified > self._roots.now() - RECENT_SECONDS
        return is_recent and listed.modified > shown.modified / 1_000_000 + LATE_SECONDS

    def _check_room(self, records: Sequence[Record]) -> None:
        new = sum(isinstance(record, Put) and not record.base for record in records)
        if new and len(self._roots.replica) + new > self._roots.most:
            raise Full(
                f"{self._roots.files.layout.files} holds more than {self._roots.most} files, the most it may have"
            )

    async def _settle(self, paths: Sequence[str], found: Comparison) -> None:
        async def settle(path: str) -> None:
            async with self._roots.locks.hold(path):
                before = self._roots.replica.get(path)
                await self._roots.settler.settle(path)
                found.corrected += self._roots.replica.get(path) is not before

        await spread(_passing_over(settle, found), paths, WIDTH)


def _passing_over(work: Work, found: Comparison) -> Work:
    """Let one object that cannot be read keep nobody from the others; the store's own troubles end it all."""

    async def passing(path: str) -> None:
        try:
            await work(path)
        except (Unavailable, Full):
            raise
        except StorError as why:
            found.unreadable += 1
            if found.unreadable <= TOLD:
                log.warn("blobs: {path} is passed over, for it cannot be read: {why}", path=path, why=str(why))

    return passing


class _Walk:
    """Goes along the paths of the index beside a listing in the same order, and collects those that are not in it."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths, self._at = paths, 0
        self._missed = list[str]()

    def reach(self, path: str) -> None:
        """Be told the next path of the listing."""
        while self._at < len(self._paths) and self._paths[self._at] <= path:
            if self._paths[self._at] != path:
                self._missed.append(self._paths[self._at])
            self._at += 1

    def finish(self) -> None:
        """Be told that the listing has ended."""
        self._missed += self._paths[self._at :]
        self._at = len(self._paths)

    def passed(self) -> list[str]:
        """Give what was missed since the last call."""
        missed, self._missed = self._missed, []
        return missed
