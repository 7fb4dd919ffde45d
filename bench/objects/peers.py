"""The servers that are measured side by side, all started by the bench, each with a folder of its own."""

import http.client
import os
import secrets
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from subprocess import run
from typing import Self

from bench.common import ROOT, stor_argv
from bench.objects.peer import Peer
from stor.storage.signing import UNSIGNED, Credentials, encoded, sign
from tests.postgres import PostgresServer
from tests.servers import RedisServer, clean_environment, free_port, program

HERE = Path(__file__).parent
KEY = "stor_" + secrets.token_hex(32)
JFS = Credentials("benchaccess", secrets.token_hex(16))
VOLUME = "benchvol"
REGION = "us-east-1"
NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit; {user}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000;
    open_file_cache max=20000; open_file_cache_valid 60s;
    client_max_body_size 0; client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/2;
    fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {folder}/files; dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


class Stor(Peer):
    """stor on SQLite and folders; `settings` are lines of its section [objects]."""

    name = "stor"
    settings = ""

    def path(self, key: str) -> str:
        """By key, in one namespace of one tenant."""
        return f"/v1/objects/by-key/bench/bench/{key}"

    def headers(self, method: str, path: str) -> dict[str, str]:
        """A key of the configuration."""
        return {"X-API-Key": KEY}

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def more(self) -> str:
        """Give further sections."""
        return ""

    def argv(self) -> Sequence[str]:
        """Only the HTTP side; it writes no access log, as no other peer does."""
        text = f"""\
data = "{self.data}"

[log]
level = "warn"

[web]
port = {self.port}

[access]
api_keys = "{KEY}"

[objects]
{self.settings}
{self.more()}"""
        return stor_argv(self.config("stor.toml", text), "web")

    def environment(self) -> dict[str, str]:
        """Find stor in this tree, whether it is installed or not."""
        return clean_environment(PYTHONPATH=str(ROOT))


class StorPostgres(Stor):
    """stor on PostgreSQL and folders."""

    name = "stor, PostgreSQL"

    def __init__(self, postgres: PostgresServer) -> None:
        super().__init__()
        self.url = postgres.fresh()

    def more(self) -> str:
        """A database of its own."""
        return f'\n[database]\nurl = "{self.url}"\n'


class Replay(Peer):
    """bench/objects/replay.py on the same PostgreSQL."""

    name = "file per object"

    def __init__(self, postgres: PostgresServer) -> None:
        super().__init__()
        self._url = postgres.fresh()

    def path(self, key: str) -> str:
        """As it calls them."""
        return f"/objects/{key}"

    def argv(self) -> Sequence[str]:
        """Uvicorn in this interpreter."""
        return [sys.executable, str(HERE / "replay.py"), str(self.port), str(self.folder / "files")]

    def environment(self) -> dict[str, str]:
        """The database stands in no argv."""
        return clean_environment(DATABASE_URL=self._url)


class Seaweed(Peer):
    """SeaweedFS: master, volume server and filer in one process; PUT and GET are the filer's."""

    name = "SeaweedFS"

    def __init__(self) -> None:
        super().__init__()
        # Each port has a gRPC twin at +10000, which must exist and be free too.
        self.port, *self._inner = (free_port(most=55000) for _ in range(3))

    def path(self, key: str) -> str:
        """Below one folder."""
        return f"/bench/{key}"

    def answers(self) -> bool:
        """It takes a file: the filer listens before there is a volume."""
        try:
            self.fill(["ready"])
        except (OSError, RuntimeError, http.client.HTTPException):
            return False
        return True

    def argv(self) -> Sequence[str]:
        """Loopback only, and nothing reported to anybody."""
        master, volume = self._inner
        return [
            *(program("weed"), "server", "-filer", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-filer.port={self.port}", f"-master.port={master}", f"-volume.port={volume}"),
            *(f"-filer.localSocket={self.folder}/socket", "-master.telemetry=false"),
        ]


class SeaweedSynced(Peer):
    """The same SeaweedFS, asked to fsync each file's bytes; what its filer knows of them is not fsynced."""

    name = "SeaweedFS, fsync"

    def __init__(self, seaweed: Seaweed) -> None:
        super().__init__()
        self._seaweed = seaweed

    def start(self) -> Self:
        """It runs already."""
        self.port, self.process = self._seaweed.port, None
        return self

    def path(self, key: str) -> str:
        """Its own folder."""
        return f"/synced/{key}?fsync=true"


class JuiceFS(Peer):
    """`juicefs gateway`, an S3 server (MinIO's), on a Redis that keeps nothing, and files."""

    name = "juicefs gateway"

    def __init__(self, redis: RedisServer) -> None:
        super().__init__()
        self._meta = f"{redis.url}/1"

    def start(self) -> Self:
        """Make the volume first."""
        argv = [
            program("juicefs"),
            "format",
            "--storage",
            "file",
            "--bucket",
            f"{self.folder}/files/",
            self._meta,
            VOLUME,
        ]
        run(argv, env=clean_environment(), check=True, capture_output=True, timeout=60)
        return super().start()

    def path(self, key: str) -> str:
        """In the one bucket."""
        return f"/{VOLUME}/{encoded(key, safe='/')}"

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Sign; the signature is good for a quarter of an hour."""
        payload = UNSIGNED if method == "PUT" else sha256().hexdigest()
        host = {"host": f"127.0.0.1:{self.port}"}
        signed = sign(JFS, REGION, method, path, "", host, payload, time.time())
        return {name.title(): value for name, value in signed.items() if name != "host"}

    def argv(self) -> Sequence[str]:
        """Nothing outside its folder, no port but its own and one for its figures, nothing reported to anybody."""
        return [
            *(program("juicefs"), "gateway", "--no-banner", "--no-usage-report", "--backup-meta", "0"),
            *("--cache-dir", str(self.folder / "cache"), "--log", str(self.folder / "log")),
            *("--metrics", f"127.0.0.1:{free_port()}", self._meta, f"127.0.0.1:{self.port}"),
        ]

    def environment(self) -> dict[str, str]:
        """Who may come."""
        return clean_environment(MINIO_ROOT_USER=JFS.access_key, MINIO_ROOT_PASSWORD=JFS.secret_key)


class Nginx(Peer):
    """nginx with one worker: files as they are, PUT by its DAV module, which does not fsync."""

    name = "nginx"

    def argv(self) -> Sequence[str]:
        """A configuration of its own."""
        (self.folder / "files").mkdir(exist_ok=True)
        user = "user root;" if os.getuid() == 0 else ""
        text = NGINX.format(folder=self.folder, port=self.port, user=user)
        return [program("nginx"), "-p", str(self.folder), "-c", self.config("nginx.conf", text)]

    @property
    def pid(self) -> int:
        """Its one worker."""
        children = Path(f"/proc/{super().pid}/task/{super().pid}/children").read_text()
        return int(children.split()[0])
