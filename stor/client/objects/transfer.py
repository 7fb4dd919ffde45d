"""One object on its way: from a file or a pipe, to one, or from one name to another."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stor.client.hands import Hands
from stor.client.objects.arriving import Part
from stor.client.objects.fetching import Fetch
from stor.client.objects.held import Made, Seen
from stor.client.objects.leaving import File, Leaving, Progress, Silence, again, digest_of
from stor.client.objects.names import Name, Ref
from stor.client.objects.passing import Passing
from stor.client.objects.pipes import Input, Output
from stor.client.objects.remote import RemoteObjects
from stor.client.objects.spots import Spot, spot
from stor.client.objects.wish import Manner, Wish
from stor.client.transfer import content_type
from stor.errors import Conflict, Missing

STATUSES = ("stored", "adopted", "fetched", "unchanged", "deleted")
STORED, ADOPTED, FETCHED, UNCHANGED, DELETED = STATUSES
_TRIES = 4  # of replacing what others make and delete at the same time

_NOBODY = Silence()

Putting = Callable[[Wish], Awaitable[Made | None]]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one object; `file` is where its bytes are here, or were."""

    status: str
    ref: Ref
    made: Made | None = None
    seen: Seen | None = None
    file: Path | None = None


class Transfers:
    """Moves objects to and from one server."""

    def __init__(self, store: RemoteObjects, hands: Hands, progress: Progress = _NOBODY) -> None:
        self.store, self.hands, self._progress = store, hands, progress

    async def put(self, path: Path, name: Name, manner: Manner) -> Done:
        """Store a file; OSError when it cannot be read, Changed when it is written meanwhile."""
        digest = await self.hands.run(digest_of, path) if manner.skips else None
        wish = manner.wish(name, content_type(path.name), digest)
        if (adopted := await self._adopted(wish, manner)) is not None:
            return replace(adopted, file=path)
        self._progress.expected((await self.hands.run(path.stat)).st_size)

        async def source() -> Leaving:
            file = await self.hands.run(File, path)
            return Leaving(file, self.hands, self._progress)

        return replace(await self._sent(wish, manner, again(source)), file=path)

    async def put_pipe(self, fd: int, name: Name, manner: Manner) -> Done:
        """Store what comes out of a pipe, of whatever length, as it comes.

        Nothing is asked of the server before the first 1 MiB is there, or all of it.
        """
        first = Input(fd)
        try:
            await self.hands.run(first.fill)
        finally:
            first.close()

        async def source() -> Leaving:
            pipe = Input(fd, first.kept, is_whole=first.is_whole)
            return Leaving(pipe, self.hands, self._progress)

        return await self._sent(manner.wish(name, content_type(name.key)), manner, again(source))

    async def copy(self, ref: Ref, name: Name, manner: Manner) -> Done:
        """Give an object a further name; its bytes go through us only where the other tenant has not got them."""
        seen = await self.store.head(ref)
        kept = replace(
            manner,
            storage_class=manner.storage_class or seen.storage_class,
            metadata=seen.metadata if manner.metadata is None else manner.metadata,
        )
        wish = kept.wish(name, seen.content_type, seen.digest)
        if (adopted := await self._adopted(wish, manner)) is not None:
            return adopted

        self._progress.expected(seen.size)

        async def source() -> Passing:
            reading = await self.store.read(ref, 0, None)
            return Passing(reading.body, reading.seen.size, self.hands, self._progress)

        return await self._sent(wish, manner, source)

    async def get(self, ref: Ref, path: Path, below: Path | None = None) -> Done:
        """Fetch an object into a file, which appears whole; one that has these bytes already is left as it is.

        With `below`, no symbolic link is followed on the way from that folder to the file.
        Conflict when another process fetches it, OSError when it cannot be written, Failed when the bytes are wrong.
        """
        place = await self.hands.run(spot, path, below)
        try:
            seen = await self._as_held(ref, place)
            if seen is not None:
                return Done(UNCHANGED, ref, seen=seen, file=path)
            return Done(FETCHED, ref, seen=await self._fetched(ref, place), file=path)
        finally:
            await self.hands.run(place.close)

    async def _fetched(self, ref: Ref, place: Spot) -> Seen:
        part = await self.hands.run(Part, place, str(ref))
        try:
            await self.hands.run(part.recall)
            self._progress.moved(part.size)
            seen = await Fetch(self.store, ref, part, self.hands, self._progress).run()
            await self.hands.run(part.finish)
            return seen
        finally:
            await self.hands.run(part.close)

    async def _as_held(self, ref: Ref, place: Spot) -> Seen | None:
        """Look at an object, when the file has its bytes already."""
        size = await self.hands.run(place.size)
        if size is None or (seen := await self.store.head(ref)).size != size:
            return None
        return seen if await self.hands.run(place.digest) == seen.digest else None

    async def get_pipe(self, ref: Ref, fd: int) -> Done:
        """Have a pipe take an object as it comes; whether the bytes are right is known at the end only."""
        output = Output(fd)
        try:
            return Done(FETCHED, ref, seen=await Fetch(self.store, ref, output, self.hands, self._progress).run())
        finally:
            output.close()

    async def delete(self, ref: Ref, match: str | None = None) -> Done:
        """Delete an object, if it has this ETag when one is given."""
        await self.store.delete(ref, match)
        return Done(DELETED, ref)

    async def _adopted(self, wish: Wish, manner: Manner) -> Done | None:
        """Write an object of bytes that its tenant has; None when it has not, or that cannot be known."""
        if wish.digest is None or not await self.store.holds(wish.name.tenant, wish.digest):
            return None
        made = await self._written(wish, manner, self.store.adopt)
        return None if made is None else Done(ADOPTED if made.is_new else UNCHANGED, wish.name, made)

    async def _sent(self, wish: Wish, manner: Manner, source: Callable[[], Awaitable[Leaving | Passing]]) -> Done:
        async def put(wish: Wish) -> Made | None:
            return await self.store.put(wish, source)

        made = await self._written(wish, manner, put)
        return Done(UNCHANGED if made is not None and not made.is_new else STORED, wish.name, made)

    async def _written(self, wish: Wish, manner: Manner, put: Putting) -> Made | None:
        """Write as it is wished; to replace whatever there is, or nothing, needs to know which."""
        tries = _TRIES if manner.replaces else 1
        while True:
            tries -= 1
            match = "*" if manner.replaces and await self._is_there(wish.name) else wish.match
            try:
                return await put(replace(wish, match=match))
            except Conflict:
                if not tries:
                    raise

    async def _is_there(self, name: Name) -> bool:
        try:
            await self.store.head(name)
        except Missing:
            return False
        return True
