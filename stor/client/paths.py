"""Which names can be synced, which are left alone, and what a conflict copy is called (pure)."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from posixpath import splitext

KEPT = ".stor-sync"  # our own folder, in the root of the synced one
INDEX = ".sync-index.json"  # reserved by the server, as a last segment
MOST_BYTES = 1024  # of a path; the server's own rule
NAME_BYTES = 255  # of one name, here
_HOST = 32

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def fault(path: str) -> str | None:
    """Tell why a path cannot be synced, or None when it can; the server refuses the same ones."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    segments = path.split("/")
    if not all(segments) or "." in segments or ".." in segments:
        return "not a path below the folder"
    if _CONTROL.search(path):
        return "the name has control characters"
    if size > MOST_BYTES:
        return f"longer than {MOST_BYTES} bytes"
    if segments[-1] == INDEX or segments[0] == KEPT:
        return "the name is reserved"
    return None


def shown(path: str) -> str:
    """Give a name as it may be printed: one line, and UTF-8."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], path.encode(errors="backslashreplace").decode())


class Ignored:
    """Globs of paths that are left alone: without a slash for any name on the way, with one for the whole path."""

    def __init__(self, globs: Sequence[str] = ()) -> None:
        self._names = [glob for glob in globs if "/" not in glob.rstrip("/")]
        self._paths = [glob.strip("/") for glob in globs if "/" in glob.rstrip("/")]

    def __contains__(self, path: str) -> bool:
        names = path.split("/")
        if any(fnmatchcase(name, glob.rstrip("/")) for name in names for glob in self._names):
            return True
        wholes = ["/".join(names[: n + 1]) for n in range(len(names))] if self._paths else []
        return any(fnmatchcase(whole, glob) for whole in wholes for glob in self._paths)


def conflict_names(path: str, host: str, changed: float) -> Iterator[str]:
    """Give names for a conflict copy of `path`, the best first; `changed` is in seconds since 1970."""
    folder, slash, name = path.rpartition("/")
    stem, suffix = splitext(name)
    label = re.sub(r"[^A-Za-z0-9-]", "-", host.partition(".")[0])[:_HOST] or "host"
    mark = f".conflict-{label}-{datetime.fromtimestamp(changed, UTC):%Y%m%d-%H%M%S}"
    number = 1
    while True:
        last = mark + (f"-{number}" if number > 1 else "")
        room = min(NAME_BYTES, MOST_BYTES - len((folder + slash).encode())) - len(last.encode())
        if len(suffix.encode()) >= room:  # no ending worth keeping
            stem, suffix = name, ""
        stem = stem.encode()[: room - len(suffix.encode())].decode(errors="ignore")
        yield folder + slash + stem + last + suffix
        number += 1


def look_alike(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """Give the groups of paths that only Unicode normalization tells apart."""
    groups = defaultdict(list)
    for path in paths:
        if not path.isascii():
            groups[unicodedata.normalize("NFC", path)].append(path)
    return [tuple(sorted(group)) for group in groups.values() if len(group) > 1]
