"""A database and stores that stop before each step.

A transaction, or a call of a store, is done as a whole: nobody sees half of it. So the places before them are all the
places where the order of things can differ, or where a dying process leaves another state behind.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from stor.storage.promise import Listed

Step = Callable[[str], AbstractAsyncContextManager[None]]  # is told what comes; around it when it may


def name_of(work: Any) -> str:
    """Give the name of the function that a transaction runs."""
    while isinstance(work, partial):
        work = work.func
    return str(getattr(work, "__qualname__", type(work).__name__)).replace(".<locals>", "")


class PausingDatabase:
    """A database whose transactions are steps."""

    def __init__(self, database: Any, step: Step) -> None:
        self.kind = database.kind
        self._database, self._step = database, step

    async def write(self, work: Any) -> Any:
        async with self._step(f"write {name_of(work)}"):
            return await self._database.write(work)

    async def read(self, work: Any) -> Any:
        async with self._step(f"read {name_of(work)}"):
            return await self._database.read(work)


class PausingStore:
    """A store whose calls are steps; a list is one for each page."""

    def __init__(self, name: str, store: Any, step: Step) -> None:
        self._name, self._store, self._step = name, store, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, *args: Any, **kwargs: Any) -> Any:
        async with self._step(f"put {self._name}"):
            return await self._store.put(key, *args, **kwargs)

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        async with self._step(f"get {self._name}"):
            return await self._store.get(key, *args, **kwargs)

    async def head(self, key: str) -> Any:
        async with self._step(f"head {self._name}"):
            return await self._store.head(key)

    async def delete(self, key: str, **kwargs: Any) -> Any:
        async with self._step(f"delete {self._name}"):
            return await self._store.delete(key, **kwargs)

    async def copy(self, source: str, target: str, **kwargs: Any) -> Any:
        async with self._step(f"copy {self._name}"):
            return await self._store.copy(source, target, **kwargs)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[list[Listed]]:
        pages = self._store.list(prefix, after)
        while True:
            async with self._step(f"list {self._name}"):
                page = await anext(pages, None)
            if page is None:
                return
            yield page
