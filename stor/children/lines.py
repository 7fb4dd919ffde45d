"""Lines out of a pipe, however long they are and however they are cut."""

from collections import deque
from collections.abc import Iterator

LINE_BYTES = 8192  # of a longer line the rest is dropped
KEPT = 50


class Lines:
    """Cuts one pipe's bytes into lines; holds one unfinished line at most."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Each line that `data` completes, without its end."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole, self._rest = self._rest + line[:LINE_BYTES], b""
            yield whole[:LINE_BYTES].removesuffix(b"\r")
        self._rest = (self._rest + rest[:LINE_BYTES])[:LINE_BYTES]

    def end(self) -> Iterator[bytes]:
        """The last line, if the pipe closed in the middle of it."""
        rest, self._rest = self._rest, b""
        if rest:
            yield rest


class LastWords:
    """The last lines a process said, for whoever asks why it died."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=KEPT)

    def add(self, line: bytes) -> None:
        """Remember `line`, forget the oldest."""
        self._lines.append(line)

    def tell(self, most: int = 1000) -> str:
        """The end of what was said, on one line, in at most `most` characters."""
        words = "; ".join(line.decode(errors="replace").strip() for line in self._lines if line.strip())
        return words if len(words) <= most else "…" + words[1 - most :]
