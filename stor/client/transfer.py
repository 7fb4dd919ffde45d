"""One file on its way: read or written in threads, sent or fetched by the remote."""

import mimetypes

from stor.client.bodies import Incoming
from stor.client.folder import Folder
from stor.client.hands import Hands
from stor.client.landing import Landing
from stor.client.outcome import Progress
from stor.client.plan import Base, Step
from stor.client.reading import Reader
from stor.client.remote import Remote


class Departure:
    """A file that is sent, as the remote wants to read it."""

    def __init__(self, reader: Reader, hands: Hands, progress: Progress) -> None:
        self.length = reader.length
        self._reader, self._hands, self._progress = reader, hands, progress

    async def read(self) -> bytes:
        """Give the next piece."""
        piece = await self._hands.run(self._reader.read)
        if piece:
            self._progress.moved(len(piece))
        return piece

    async def close(self) -> None:
        """Let go of the file."""
        await self._hands.run(self._reader.close)


class Arrival:
    """A file that is fetched; `landing` has the bytes of the last try."""

    def __init__(self, folder: Folder, hands: Hands, progress: Progress) -> None:
        self._folder, self._hands, self._progress = folder, hands, progress
        self.landing: Landing | None = None

    async def receive(self, body: Incoming) -> str:
        """Write what comes to disk, and give its md5."""
        await self.close()
        landing = self.landing = self._folder.landing()
        await self._hands.run(landing.open)
        while piece := await body.read():
            await self._hands.run(landing.write, piece)
            self._progress.moved(len(piece))
        return landing.md5

    async def close(self) -> None:
        """Forget what has not landed."""
        if self.landing is not None:
            await self._hands.run(self.landing.close)


class Transfer:
    """Moves files between one folder and one remote."""

    def __init__(self, folder: Folder, remote: Remote, hands: Hands, progress: Progress) -> None:
        self._folder, self._remote, self._hands, self._progress = folder, remote, hands, progress

    async def upload(self, step: Step, md5: str) -> None:
        """Send the file with this md5, and remember that; Changed, PreconditionFailed when it was another by then."""

        async def source() -> Departure:
            reader = await self._hands.run(self._folder.reader, step.path, md5)
            return Departure(reader, self._hands, self._progress)

        base = await self._remote.put(step.path, md5, step.there, source, content_type(step.path))
        await self._hands.run(self._folder.state.record, {step.path: base})

    async def download(self, step: Step, expected: str | None) -> str | None:
        """Fetch the file, and remember that. What it replaces is dropped if its md5 is `expected`.

        Otherwise what was there is kept, and its new path is given.
        """
        arrival = Arrival(self._folder, self._hands, self._progress)
        try:
            base = await self._remote.get(step.path, arrival.receive)
            assert arrival.landing is not None  # noqa: S101 - get has called receive
            return await self._land(step, arrival.landing, expected, base)
        finally:
            await arrival.close()

    async def _land(self, step: Step, landing: Landing, expected: str | None, base: Base) -> str | None:
        if base.md5 == step.here:  # it came round again
            await self._hands.run(self._folder.state.record, {step.path: base})
            return None
        if step.here is None:
            await self._hands.run(self._folder.put, step.path, landing, base)
            return None
        return await self._hands.run(self._folder.replace, step.path, landing, expected, base)


def content_type(path: str) -> str:
    """Guess a media type by the name; what is compressed is its own type, never an encoding."""
    kind, encoding = mimetypes.guess_type(path)
    if encoding is not None:
        return f"application/{encoding}"
    return kind or "application/octet-stream"
