"""The synced folder as a sync changes it: each change is whole, and what it takes away is looked at before it goes."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from threading import Event

from stor.client.exchange import Unsupported, exchange, move
from stor.client.landing import Landing
from stor.client.paths import KEPT, Ignored, conflict_names
from stor.client.plan import Base
from stor.client.reading import Changed, Reader, digest
from stor.client.scan import Found, Scan
from stor.client.state import Move, State, borrowed, locked, opened
from stor.client.tree import Place, Tree
from stor.errors import Failed


class Folder:
    """Everything here waits for the disk: call it in a thread. `stop` ends what takes long, with Stopped."""

    def __init__(self, root: Path, state: State, tree: Tree, host: str) -> None:
        self.state, self.stop = state, Event()
        self._tmp, self._tree, self._host = root / KEPT / "tmp", tree, host

    def scan(self, ignored: Ignored) -> Found:
        """Look at everything, and remember the md5s."""
        seen = self.state.seen()
        found = Scan(self._tree, seen, ignored, self._now()).run(self.stop)
        self.state.remember(found.read, (path for path in seen if path not in found.files))
        return found

    def _now(self) -> int:
        """Ask the file system for its time, which is not always ours."""
        if not self._tmp.exists():
            return 0  # a dry run of a folder that was never synced
        probe = self._tmp / "now"
        probe.touch()
        return probe.stat().st_mtime_ns

    def reader(self, path: str, expected: str) -> Reader:
        """Open a file for sending; Changed when it is not there any more."""
        return Reader(self._tree, path, expected)

    def landing(self) -> Landing:
        """Give a place for a file on its way in; it waits for nothing."""
        return Landing(self._tmp)

    def is_absent(self, path: str) -> bool:
        """Tell whether no file of that name is there, by any spelling that this file system takes for it."""
        try:
            status = self._tree.status(path)
        except NotADirectoryError:
            return False  # behind a symbolic link: who knows
        return status is None or stat.S_ISDIR(status.st_mode)

    def put(self, path: str, landing: Landing, base: Base) -> None:
        """Have the file appear where nothing is; Changed when a file is there by now, Failed when it cannot be held."""
        try:
            with landing.lock, self._tree.made(path) as target:
                landing.check()
                landing.finish(None)
                move(landing.place, target)
                landing.landed = True
                os.fsync(target[0])
        except (FileExistsError, NotADirectoryError):
            self._say_what_is_there(path)
            raise Changed(f"{path} is there by now") from None
        self.state.record({path: base})

    def _say_what_is_there(self, path: str) -> None:
        """Raise Failed when it is not a file of that name that is in the way."""
        names = path.split("/")
        for n in range(1, len(names) + 1):
            above = "/".join(names[:n])
            status = self._tree.status(above)
            if status is not None and stat.S_ISDIR(status.st_mode) == (n == len(names)):
                raise Failed(f"{above} is in the way here")

    def replace(self, path: str, landing: Landing, expected: str | None, base: Base) -> str | None:
        """Have the file take the place of the one that is there, which is dropped if its md5 is `expected`.

        Otherwise it is kept, and the path of that conflict copy is given. Changed when nothing is there by now.
        """
        with landing.lock, self._place(path) as target:
            landing.check()
            status = os.stat(target[1], dir_fd=target[0], follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise Changed(f"{path} is no file any more")
            landing.finish(stat.S_IMODE(status.st_mode))
            name = self._swap(landing, target, Move(landing.name, path, landing.md5, expected))
            os.fsync(target[0])
        copy = None if self._drop(name, expected, landing.md5) else self._keep(name, path)
        self.state.end(name)
        self.state.record({path: base})
        return copy

    def _swap(self, landing: Landing, target: Place, plan: Move) -> str:
        """Put the new file there, and give the name in `tmp` of what was there."""
        self.state.begin(plan)
        landing.landed = True
        try:
            exchange(landing.place, target)
        except Unsupported:
            landing.landed = False
        except OSError:
            landing.landed = False
            raise
        else:
            return plan.name
        return self._swap_slowly(landing, target, plan)

    def _swap_slowly(self, landing: Landing, target: Place, plan: Move) -> str:
        """Do the same where two names cannot be exchanged: for a moment nothing is there."""
        name = self._take(target, plan.path, plan.expected)
        try:
            move(landing.place, target)
        except FileExistsError:
            self._put_back(name, plan.path, plan.expected)
            self.state.end(name)
            raise Changed(f"{plan.path} is there again") from None
        landing.landed = True
        self.state.end(plan.name)
        return name

    def _take(self, target: Place, path: str, expected: str | None) -> str:
        """Move what is there into `tmp`, written down before, and give its name."""
        name = token_hex(8)
        self.state.begin(Move(name, path, None, expected))
        with self._in_tmp(name) as away:
            move(target, away)
        return name

    def delete(self, path: str, expected: str) -> None:
        """Delete the file if its md5 is `expected`, and folders that are empty then; else Changed, and it stays."""
        with self._place(path) as target:
            name = self._take(target, path, expected)
            os.fsync(target[0])
        dropped = self._drop(name, expected)
        if not dropped:
            self._put_back(name, path)
        self.state.end(name)
        if not dropped:
            raise Changed(f"{path} changed")
        self._tree.prune(path)
        self.state.record({path: None})

    def recover(self) -> None:
        """Tidy up what an interruption left in `tmp`: nothing that we did not put there ourselves is dropped."""
        for left in self.state.moves():
            if os.path.lexists(self._tmp / left.name) and not self._drop(left.name, left.wanted):
                self._put_back(left.name, left.path, left.expected)
            self.state.end(left.name)
        for file in self._tmp.iterdir():
            file.unlink()

    def _put_back(self, name: str, path: str, expected: str | None = None) -> None:
        """Give a file its name again; when that is taken, drop it if its md5 is `expected`, or keep it as a copy."""
        try:
            with self._in_tmp(name) as source, self._tree.made(path) as target:
                move(source, target)
        except (FileExistsError, NotADirectoryError):
            if not self._drop(name, expected):
                self._keep(name, path)

    def _drop(self, name: str, *known: str | None) -> bool:
        """Drop a file in `tmp` if its md5 is one of these."""
        with self._in_tmp(name) as (folder, _):
            found = self._md5(folder, name)
            if found is None or found not in known:
                return False
            os.unlink(name, dir_fd=folder)
            return True

    def _md5(self, folder: int, name: str) -> str | None:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return None
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            found = digest(fd, Event())  # not to be stopped: the file is between two places
            return None if found is None else found[1]
        finally:
            os.close(fd)

    def _keep(self, name: str, path: str) -> str:
        """Give a file in `tmp` the name of a conflict copy of `path`."""
        with self._in_tmp(name) as source:
            changed = os.stat(name, dir_fd=source[0], follow_symlinks=False).st_mtime
            for copy in conflict_names(path, self._host, changed):
                try:
                    with self._tree.made(copy) as target:
                        move(source, target)
                        os.fsync(target[0])
                        return copy
                except FileExistsError:
                    continue
        raise AssertionError("there is always another name")

    @contextmanager
    def _in_tmp(self, name: str) -> Iterator[Place]:
        fd = os.open(self._tmp, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd, name
        finally:
            os.close(fd)

    @contextmanager
    def _place(self, path: str) -> Iterator[Place]:
        try:
            with self._tree.place(path) as target:
                yield target
        except (FileNotFoundError, NotADirectoryError):
            raise Changed(f"{path} is gone") from None


@contextmanager
def synced(root: Path, remote: str, host: str) -> Iterator[Folder]:
    """Lend the folder, locked, and tidied up after an interruption."""
    with ExitStack() as stack:
        stack.enter_context(locked(root))
        folder = _folder(root, opened(root, remote), host, stack)
        folder.recover()
        yield folder


@contextmanager
def looked_at(root: Path, remote: str, host: str) -> Iterator[Folder]:
    """Lend the folder for a dry run: only to be scanned."""
    with ExitStack() as stack:
        yield _folder(root, borrowed(root, remote), host, stack)


def _folder(root: Path, state: State, host: str, stack: ExitStack) -> Folder:
    stack.callback(state.close)
    tree = Tree(root)
    stack.callback(tree.close)
    return Folder(root, state, tree, host)
