"""The servers that are measured side by side, all started by the bench."""

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

from bench import common
from bench.common import ROOT
from tests.servers import clean_environment, program

HERE = Path(__file__).parent
KEY = "stor_" + secrets.token_hex(32)
LARGE = Path("/dev/shm" if Path("/dev/shm").is_dir() else gettempdir()) / "stor-bench-web"  # noqa: S108 - in memory
NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000;
    open_file_cache max=100; open_file_cache_valid 60s;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{port};
        location = /hot {{ alias {folder}/small; }}
        location = /return {{ return 200 "{body}"; }}
        location = /file {{ alias {large}; }}
    }}
}}
"""


class Peer(common.Peer):
    """A server on a port, with the paths that it is measured at, each under the name of its row."""

    small: dict[str, str]


class Stor(Peer):
    """bench/web/house.py."""

    name = "stor"
    small = {"stor": "/hot", "stor (Klein)": "/klein"}  # noqa: RUF012 - a table

    def argv(self) -> Sequence[str]:
        """Its log goes to a file, as all its output."""
        return [sys.executable, str(HERE / "house.py"), str(self.port), str(LARGE)]

    def environment(self) -> dict[str, str]:
        """The key, and where the code is."""
        return clean_environment(KEY=KEY, PYTHONPATH=str(ROOT))


class FastAPI(Peer):
    """bench/web/fast.py on uvicorn."""

    name = "fastapi"
    small = {"fastapi": "/hot"}  # noqa: RUF012

    def argv(self) -> Sequence[str]:
        """With the fastest loop and parser that it has, and silent."""
        words = ["-m", "uvicorn", "fast:app", "--app-dir", str(HERE), "--port", str(self.port)]
        quick = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        return [sys.executable, *words, *quick]


class Nginx(Peer):
    """nginx with one worker: a file of 1 KiB, and the same bytes from its configuration."""

    name = "nginx"
    small = {"nginx (file)": "/hot", "nginx (return)": "/return"}  # noqa: RUF012

    def argv(self) -> Sequence[str]:
        """A configuration of its own."""
        self.folder.chmod(0o755)  # the worker of an nginx that root starts is somebody else
        (self.folder / "small").write_bytes(b"x" * 1024)
        words = {"folder": self.folder, "port": self.port, "body": "x" * 1024, "large": LARGE}
        (self.folder / "nginx.conf").write_text(NGINX.format(**words))
        return [program("nginx"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    @property
    def pid(self) -> int:
        """Its one worker."""
        children = Path(f"/proc/{super().pid}/task/{super().pid}/children").read_text()
        return int(children.split()[0])
