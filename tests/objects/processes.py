"""stor with objects as real processes for tests: the program itself, run by twistd, any number over the same places."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.blobs.processes import KEY, ROOT, Answered, BlobServer
from tests.objects.rooms import Places
from tests.servers import STOP_SECONDS, Server, clean_environment, free_port, wait_until

__all__ = ["Answered", "ObjectServer", "over"]

QUICK = "gc_interval_seconds = 0.05\ngc_grace_seconds = 0"  # lines of the section [objects]
QUIET = "gc_interval_seconds = 3600"


class ObjectServer(BlobServer):
    """One process with only its HTTP side; `objects` are lines of its section, `config` whole sections.

    `wrapper` is what runs it, in front of the program: strace, say.
    """

    def __init__(self, objects: str = "", config: str = "", wrapper: Sequence[str] = ()) -> None:
        Server.__init__(self)
        self.port, self.data = free_port(), self.folder / "data"
        self.file = self.folder / "stor.toml"
        self.wrapper = wrapper
        self.write_config(objects, config)

    def write_config(self, objects: str, config: str = "") -> None:
        """Say what it is to be at its next start."""
        text = f"""
            data = '{self.data}'
            [web]
            port = {self.port}
            [access]
            api_keys = '{KEY}'
            [blobs]
            folder = '{self.folder / "blobs"}'
            [objects]
            {objects}
            {config}
        """
        self.file.write_text("\n".join(line.strip() for line in text.splitlines()))

    def argv(self) -> Sequence[str]:
        """Say what to run."""
        return [*self.wrapper, *super().argv()]

    def environment(self) -> dict[str, str]:
        """The tree under test, and nothing else."""
        return clean_environment(PYTHONPATH=str(ROOT))

    def put(self, key: str, data: Any, *, tenant: str = "acme", **headers: str) -> Answered:
        """Upload under a key of the namespace `photos`."""
        return self.ask("PUT", self.target(key, tenant), data, **headers)

    def get(self, key: str, *, tenant: str = "acme", **headers: str) -> Answered:
        """Read what a key has."""
        return self.ask("GET", self.target(key, tenant), **headers)

    def target(self, key: str, tenant: str = "acme") -> str:
        """Give the path of a key."""
        return f"/v1/objects/by-key/photos/{tenant}/{key}"

    def stop(self) -> None:
        """End it in an orderly way, whoever runs it."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.python, signal.SIGTERM)
            wait_until(lambda: self.process is None or self.process.poll() is not None, STOP_SECONDS)
        super().stop()

    @property
    def python(self) -> int:
        """The id of the process that serves."""
        assert self.process is not None
        pid = self.process.pid
        if not self.wrapper:
            return pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def over(at: Places, objects: str = QUICK) -> ObjectServer:
    """Give a process over the same places as others."""
    if at.buckets is None:
        where = f"hot_folder = '{at.folder}/hot'\ncold_folder = '{at.folder}/cold'"
    else:
        hot, cold = at.buckets["hot"], at.buckets["cold"]
        lines = {"hot_bucket": hot["bucket"], "cold_bucket": cold["bucket"]}
        lines |= {name: hot[name] for name in ("endpoint", "access_key", "secret_key")}
        where = "\n".join(f"{name} = '{text}'" for name, text in lines.items())
    return ObjectServer(f"{where}\n{objects}", f"[database]\nurl = '{at.database}'")
