"""How the commands about objects tell what they did: to people, or to programs as lines of JSON."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import click
import msgspec
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TransferSpeedColumn

from stor.client.objects.held import Seen, Shown
from stor.client.objects.transfer import STATUSES, Done
from stor.client.paths import shown
from stor.errors import Conflict, Missing, StorError, TooMany, Unavailable

FAILED = "failed"
WELL, ERROR, MISSING, CONFLICT, AWAY = 0, 1, 3, 4, 75
CODES = """Exit code 0: well, 1: error, 2: a mistyped command line, 3: no such object, 4: a conflict or a condition that
does not hold, 75: the server is away; 1 where things went wrong in several ways."""


class Teller:
    """Tells on stdout what was done and on stderr what was not; `code` is the exit code so far.

    `is_long`: people are told of each only when it fails, and at the end how many there were.
    """

    def __init__(self, *, as_json: bool, is_long: bool = False) -> None:
        self.bar = Bar(is_shown=sys.stderr.isatty() and not as_json)
        self.as_json, self._is_long = as_json, is_long
        self._codes: set[int] = set()
        self._is_waiting = False
        self._counts: Counter[str] = Counter()

    @property
    def code(self) -> int:
        """0 when all went well, else what the failures have in common."""
        return WELL if not self._codes else self._codes.copy().pop() if len(self._codes) == 1 else ERROR

    def done(self, done: Done) -> None:
        """Tell that one object is as it should be."""
        self._counts[done.status] += 1
        self.bar.ended()
        if self.as_json:
            self._say(_told(done))
        elif not self._is_long:
            click.echo(_line(done))

    def failed(self, name: str, why: StorError | OSError) -> None:
        """Tell that one could not be had; the rest goes on."""
        self._counts[FAILED] += 1
        self._codes.add(_code(why))
        if self.as_json:
            self._say({"status": FAILED, "name": shown(name), **_fault(why)})
        else:
            self.bar.print(f"stor: {shown(name)}: {words(why)}")

    def ended(self, why: StorError) -> None:
        """Tell what ended it all."""
        self._codes = {_code(why)}
        if self.as_json:
            self._say({"status": FAILED, **_fault(why)})
        else:
            click.echo(f"stor: {words(why)}", err=True)

    def unheard(self) -> None:
        """Nobody listens any more, and need not be told so."""
        self._codes = {ERROR}

    def passed(self, name: object, why: str) -> None:
        """Tell of what is left out."""
        if not self.as_json:
            self.bar.print(f"left out: {shown(str(name))}: {why}")

    def waits(self, why: StorError) -> None:
        """Tell somebody at a terminal that it is tried again; it is told once."""
        if self.bar.is_shown and not self._is_waiting:
            self._is_waiting = True
            self.bar.print(f"{words(why)}; trying again")

    def summary(self) -> None:
        """Tell people how many there were."""
        if not self.as_json:
            told = (f"{self._counts[what]} {what}" for what in (*STATUSES, FAILED) if self._counts[what])
            click.echo(", ".join(told) or "nothing to do")

    def _say(self, value: object) -> None:
        click.echo(json.dumps(value))


def words(why: StorError | OSError) -> str:
    """Say in one line what is wrong."""
    if isinstance(why, OSError):
        return ": ".join(shown(str(part)) for part in (why.filename, why.strerror) if part)
    told = shown(str(why))
    return f"{told} (--replace)" if why.code == "KEY_TAKEN" else told


def _code(why: StorError | OSError) -> int:
    if isinstance(why, Missing):
        return MISSING
    if isinstance(why, Conflict):
        return CONFLICT
    return AWAY if isinstance(why, TooMany | Unavailable) else ERROR


def _fault(why: StorError | OSError) -> Mapping[str, object]:
    code = why.code if isinstance(why, StorError) else None
    return {"code": code or type(why).__name__, "message": words(why)}


def _told(done: Done) -> Mapping[str, object]:
    """Give all that is known of it."""
    found: dict[str, Any] = {"status": done.status, "name": str(done.ref)}
    if done.file is not None:
        found["file"] = shown(str(done.file))
    if done.made is not None:
        found["object"] = object_of(done.made.object)
    if done.seen is not None:
        found["object"] = seen_of(done.seen)
    return found


def object_of(found: Shown) -> Mapping[str, object]:
    """Give an object as the API shows it."""
    told: Mapping[str, object] = msgspec.to_builtins(found)
    return told


def seen_of(seen: Seen) -> Mapping[str, object]:
    """Give what is known of an object from its head, under the API's names."""
    return {
        "id": seen.id,
        "content_hash": f"sha256:{seen.digest}",
        "size_bytes": seen.size,
        "storage_class": seen.storage_class,
        "content_type": seen.content_type,
        "metadata": seen.metadata,
        "last_modified": seen.updated,
    }


def _line(done: Done) -> str:
    file = "" if done.file is None else f"  {shown(str(done.file))}"
    made = "" if done.made is None else f"  {shown(done.made.object.id)}"
    return f"{done.status}  {shown(str(done.ref))}{made}{file}"


class Bar:
    """A progress bar on stderr, for people only: objects done, bytes moved, and how fast."""

    def __init__(self, *, is_shown: bool) -> None:
        self.is_shown = is_shown
        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TransferSpeedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown)
        self._task = self._bar.add_task("", total=None)
        self._total = self._moved = self._done = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def print(self, line: str) -> None:
        """Print a line above it, on stderr."""
        if self.is_shown:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)

    def expected(self, size: int) -> None:
        """Count bytes that are to go."""
        self._total += size
        self._bar.update(self._task, total=self._total)

    def moved(self, size: int) -> None:
        """Count bytes that went."""
        self._moved += size
        self._bar.update(self._task, completed=self._moved, description=self._words())

    def ended(self) -> None:
        """Count an object."""
        self._done += 1
        self._bar.update(self._task, description=self._words())

    def _words(self) -> str:
        return f"{self._done} done, {decimal(self._moved)}"
