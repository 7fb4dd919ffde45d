"""A real PostgreSQL for tests: one server for all of them, a database for each."""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Self

import psycopg

from tests.servers import STOP_SECONDS, Server, clean_environment, wait_until

PASSWORD = "pä ss@w:rd/%"  # everything that a URL must quote
QUOTED = "p%C3%A4%20ss%40w%3Ard%2F%25"


class PostgresServer(Server):
    """A PostgreSQL of our own, as strict with its disk as in production, signed in to by SCRAM."""

    def start(self) -> Self:
        """Make its files at the first start."""
        if not self._data.exists():
            self._make()
        return super().start()

    def _make(self) -> None:
        if os.getuid() == 0:  # PostgreSQL refuses root
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        argv = [
            *_as_nobody_special(),
            _postgres("initdb"),
            f"--pgdata={self._data}",
            "--username=stor",
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]
        made = subprocess.run(argv, capture_output=True, text=True, env=clean_environment(), check=False)
        assert made.returncode == 0, made.stderr

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def argv(self) -> Sequence[str]:
        """Loopback only; fsync is on by default, and said because tests count on it."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "on"}
        words = [f"--{name}={value}" for name, value in settings.items()]
        return [*_as_nobody_special(), _postgres("postgres"), "-D", str(self._data), "-p", str(self.port), *words]

    def answers(self) -> bool:
        """It lets us in."""
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        """Give the URL of one database, with the password."""
        return f"postgresql://stor:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        """Make an empty database and give its URL."""
        name = f"test_{token_hex(8)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def _everybody(self) -> list[int]:
        """The server and its children, each of which leads a group of its own."""
        assert self.process is not None
        pid = self.process.pid
        try:
            return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        except FileNotFoundError:  # it has ended
            return []

    def _tell(self, what: signal.Signals) -> list[int]:
        everybody = self._everybody()
        for pid in everybody:
            with suppress(ProcessLookupError):  # it may just have ended
                os.kill(pid, what)
        return everybody

    def stop(self) -> None:
        """End it without waiting for its clients (SIGINT, "fast shutdown")."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
        super().stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)  # so that it makes no more children
            killed = self._tell(signal.SIGKILL)
            super().kill()
            wait_until(lambda: not any(map(_lives, killed)), STOP_SECONDS)  # the next server looks for the old one's

    def pause(self) -> None:
        """Make all of it hang."""
        self._tell(signal.SIGSTOP)

    def resume(self) -> None:
        """Let all of it go on."""
        self._tell(signal.SIGCONT)


def _lives(pid: int) -> bool:
    """A dead process may wait for somebody to ask how it died."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@cache
def shared() -> PostgresServer:
    """Give the server that all tests share, started for the first and closed after the last; do not disturb it."""
    server = PostgresServer()
    atexit.register(server.close)
    return server.start()


def _postgres(name: str) -> str:
    """Debian keeps the server's programs out of PATH, by version."""
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", os.defpath)]))
    if found is None:
        msg = f"this test needs PostgreSQL's {name!r}, which is not installed"
        raise FileNotFoundError(msg)
    return found


def _as_nobody_special() -> list[str]:
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
