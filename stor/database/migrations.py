"""Numbered steps that a database takes to the shape this program knows, each recorded with its checksum."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeVar

from stor.database.promise import Transaction
from stor.errors import ConfigError

T = TypeVar("T")
Transact = Callable[[Callable[[Transaction], T]], T]  # runs it alone in a transaction, one process at a time

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+?)(\.down)?(?:\.(sqlite|postgresql))?\.sql")
_RECORDS = """CREATE TABLE IF NOT EXISTS stor_migration (
    number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied BIGINT NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step up, and the way back; `name` is the file's, `0001_api_keys`."""

    number: int
    name: str
    up: str
    down: str = ""

    @property
    def checksum(self) -> str:
        """What the step did, in 64 hexadecimal digits."""
        return sha256(self.up.encode()).hexdigest()


def known(kind: str, folder: Traversable | None = None) -> list[Migration]:
    """Give the steps for one kind of database, in order.

    `0001_name.sql` is for all kinds, `0001_name.sqlite.sql` for one; the way back is in `0001_name.down.sql` or
    `0001_name.down.sqlite.sql`.
    """
    folder = folder or resources.files("stor.database") / "schema"
    texts: dict[tuple[int, str, bool], str] = {}
    for file in folder.iterdir():
        found = _NAME.fullmatch(file.name)
        if found and found[4] in {None, kind}:
            texts[int(found[1]), f"{found[1]}_{found[2]}", bool(found[3])] = file.read_text("utf-8")
    return [
        Migration(number, name, text, texts.get((number, name, True), ""))
        for (number, name, down), text in sorted(texts.items())
        if not down
    ]


def rise(transact: Transact[bool], steps: Sequence[Migration]) -> None:
    """Take every step that the database has not taken; ConfigError when it has taken some that we do not know."""
    while transact(partial(_up, steps=steps)):
        pass


def fall(transact: Transact[bool], steps: Sequence[Migration], to: int) -> None:
    """Go back, one step at a time, until none above number `to` is left; what the steps had kept is lost."""
    while transact(partial(_down, steps=steps, to=to)):
        pass


def _up(transaction: Transaction, steps: Sequence[Migration]) -> bool:
    """Take one step; False when there is none to take."""
    taken = _taken(transaction, steps)
    ahead = [step for step in steps if step.number not in taken]
    if not ahead:
        return False
    step = ahead[0]
    _run(transaction, step.up)
    transaction.execute(
        "INSERT INTO stor_migration (number, name, checksum, applied) VALUES (?, ?, ?, ?)",
        (step.number, step.name, step.checksum, int(time.time())),
    )
    return True


def _down(transaction: Transaction, steps: Sequence[Migration], to: int) -> bool:
    taken = [number for number in _taken(transaction, steps) if number > to]
    if not taken:
        return False
    step = next(step for step in steps if step.number == max(taken))
    if not step.down:
        raise ConfigError(f"there is no way back from migration {step.name}")
    _run(transaction, step.down)
    transaction.execute("DELETE FROM stor_migration WHERE number = ?", (step.number,))
    return True


def _taken(transaction: Transaction, steps: Sequence[Migration]) -> set[int]:
    """Tell which steps were taken; ConfigError unless they are ours."""
    transaction.execute(_RECORDS)
    ours = {step.number: step for step in steps}
    rows = transaction.execute("SELECT number, name, checksum FROM stor_migration ORDER BY number")
    for number, name, checksum in rows:
        if number not in ours:
            newest = steps[-1].name if steps else "none"
            raise ConfigError(
                f"the database is newer than this program: it has migration {name}, the program's last is {newest}; "
                "run the newer program, or go back with it first"
            )
        if ours[number].checksum != checksum:
            raise ConfigError(f"migration {name} was taken with another text than this program's {ours[number].name}")
    return {number for number, *_ in rows}


def _run(transaction: Transaction, text: str) -> None:
    for statement in statements(text):
        transaction.execute(statement)


def statements(text: str) -> Iterator[str]:
    """Split a script at the semicolons that end statements, not at those in texts, comments and triggers."""
    statement = ""
    for piece in re.split("(?<=;)", text):
        statement += piece
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if re.sub("(?m)--.*$", "", statement).strip():
        raise ConfigError(f"a migration's last statement has no end: {statement.strip()[:60]}")
