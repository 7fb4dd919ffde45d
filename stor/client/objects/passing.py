"""An object on its way from one place to another through us: nothing of it is kept."""

from hashlib import sha256

from stor.client.bodies import Incoming
from stor.client.hands import Hands
from stor.client.objects.leaving import Progress


class Passing:
    """A source that is fetched while it is sent."""

    is_lost = False

    def __init__(self, body: Incoming, length: int, hands: Hands, progress: Progress) -> None:
        self._body, self._length, self._hands, self._progress = body, length, hands, progress
        self._hash = sha256()

    @property
    def length(self) -> int | None:
        """In bytes."""
        return self._length

    @property
    def digest(self) -> str:
        """The SHA-256 of what was given."""
        return self._hash.hexdigest()

    async def read(self) -> bytes:
        """Give the next piece."""
        piece = await self._body.read()
        if piece:
            await self._hands.run(self._hash.update, piece)
            self._progress.moved(len(piece))
        return piece

    async def close(self) -> None:
        """Take no more of it."""
        self._body.close()
