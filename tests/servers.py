"""Real servers for tests: started on free loopback ports, waited for, and ended by pid."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import quote

from stor.storage.signing import Credentials, sign
from tests.certificates import Authority
from tests.programs import program

START_SECONDS = 20.0
STOP_SECONDS = 10.0


def free_port(most: int = 65535) -> int:
    """Name a loopback port that the kernel holds free now, at most `most`."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= most:
            return port


def clean_environment(**extra: str) -> dict[str, str]:
    """Give a child only what it needs: some S3 clients die on a stray AWS_CA_BUNDLE."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "TMPDIR") if name in os.environ}
    return kept | extra


class Server:
    """A process on a port: start, wait until it answers, stop; used as a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="stor-test-"))
        self.process: subprocess.Popen[bytes] | None = None

    def argv(self) -> Sequence[str]:
        """Say what to run."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Say in which environment."""
        return clean_environment()

    def stdin(self) -> bytes:
        """Say what the process reads from its standard input."""
        return b""

    def answers(self) -> bool:
        """Tell whether it serves now."""
        raise NotImplementedError

    @property
    def output(self) -> str:
        """What the process printed since its last start."""
        return (self.folder / "output").read_text(errors="replace")

    def start(self) -> Self:
        """Start it, on the same port as before, and return when it answers."""
        with (self.folder / "output").open("wb") as output:
            process = self.process = subprocess.Popen(
                self.argv(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=self.folder,
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(self.stdin())
        process.stdin.close()
        try:
            wait_until(lambda: self._alive() and self.answers(), START_SECONDS)
        except BaseException:
            self.kill()
            raise
        return self

    def _alive(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            msg = f"{self.argv()[0]} ended before it answered:\n{self.output[-4000:]}"
            raise RuntimeError(msg)
        return True

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM); SIGKILL when it takes too long."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL to the process and its children."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Make it hang (SIGSTOP): connections are accepted by the kernel, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and forget its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class RedisServer(Server):
    """A redis-server of our own; configuration goes in by standard input, so no password is in argv.

    `RedisServer("--maxclients", "50", config_lines=["user default off", "user stor on >pw ~* &* +@all"])`
    """

    def __init__(self, *args: str, config_lines: Sequence[str] = ()) -> None:
        super().__init__()
        self._args, self._lines = args, config_lines

    @property
    def url(self) -> str:
        """The URL without a credential."""
        return f"redis://127.0.0.1:{self.port}"

    def url_as(self, user: str, password: str, database: int = 0) -> str:
        """Give the URL of one user, percent-encoded."""
        return f"redis://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def argv(self) -> Sequence[str]:
        """Read the configuration from standard input, stay in the foreground."""
        return [program("redis-server"), "-", *self._args]

    def stdin(self) -> bytes:
        """Loopback only, nothing kept on disk."""
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f'dir "{self.folder}"',
            "daemonize no",
            'save ""',
            "appendonly no",
            *self._lines,
        ]
        return "\n".join(lines).encode() + b"\n"

    def answers(self) -> bool:
        """A PING gets an answer: PONG, or NOAUTH where the default user is locked."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as talk:
                talk.sendall(b"PING\r\n")
                return talk.recv(64)[:1] in {b"+", b"-"}
        except OSError:
            return False


class TlsRedisServer(RedisServer):
    """A redis-server that speaks only TLS, certified for `host` by an authority (its own, unless given)."""

    def __init__(
        self, *args: str, config_lines: Sequence[str] = (), authority: Authority | None = None, host: str = "localhost"
    ) -> None:
        super().__init__(*args, config_lines=config_lines)
        authority = authority or Authority(self.folder)
        self.authority_file = authority.file
        self._certificate, self._key = authority.certificate("server", host)

    @property
    def url(self) -> str:
        """The URL without a credential."""
        return super().url.replace("redis:", "rediss:")

    def url_as(self, user: str, password: str, database: int = 0) -> str:
        """Give the URL of one user, percent-encoded."""
        return super().url_as(user, password, database).replace("redis:", "rediss:")

    def stdin(self) -> bytes:
        """The last word counts: no plain port."""
        lines = [
            "port 0",
            f"tls-port {self.port}",
            f'tls-cert-file "{self._certificate}"',
            f'tls-key-file "{self._key}"',
            f'tls-ca-cert-file "{self.authority_file}"',
            "tls-auth-clients no",
        ]
        return super().stdin() + "\n".join(lines).encode() + b"\n"

    def answers(self) -> bool:
        """It takes connections: whom it is certified for may be another name than ours."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


class S3Server(Server):
    """`weed mini`: a real S3 server that persists, checks signatures and honours conditional writes."""

    access_key = "stortestaccess"
    secret_key = "stortestsecret"

    def __init__(self, bucket: str = "stor-test") -> None:
        super().__init__()
        self.bucket = bucket
        # Each port has a gRPC twin at +10000, which must exist and be free too.
        self.port, *self._inner = (free_port(most=55000) for _ in range(4))

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def bucket_url(self) -> str:
        """The bucket's URL, path style, as juicefs wants it."""
        return f"{self.endpoint}/{self.bucket}"

    def argv(self) -> Sequence[str]:
        """Only S3: no WebDAV, no admin page."""
        master, volume, filer = self._inner
        return [
            program("weed"),
            "mini",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.port={self.port}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            "-s3.port.iceberg=0",  # two more listeners, on fixed ports where nothing is said
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            f"-bucket={self.bucket}",
        ]

    def environment(self) -> dict[str, str]:
        """Keys by environment, never by argv."""
        return clean_environment(AWS_ACCESS_KEY_ID=self.access_key, AWS_SECRET_ACCESS_KEY=self.secret_key)

    def answers(self) -> bool:
        """The bucket has been made, and is ours."""
        path, who = f"/{self.bucket}", Credentials(self.access_key, self.secret_key)
        host = {"host": f"127.0.0.1:{self.port}"}
        signed = sign(who, "us-east-1", "HEAD", path, "", host, sha256().hexdigest(), time.time())
        request = urllib.request.Request(self.bucket_url, method="HEAD", headers=signed)  # noqa: S310 - a URL of our own
        try:
            with urllib.request.urlopen(request, timeout=2):  # noqa: S310
                return True
        except OSError:
            return False


def wait_until(is_so: Callable[[], bool], seconds: float) -> None:
    """Ask again every 20 ms until it is so; TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            msg = f"still not so after {seconds} s"
            raise TimeoutError(msg)
        time.sleep(0.02)
