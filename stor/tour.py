"""What `make run` shows once all is up: what is on, three commands to try, and what was left out and why."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.application.service import Service

from stor.children import find


class Tour(Service):
    """The last to start: prints, and does nothing else."""

    def __init__(self, redis_port: int, password_file: Path, web_port: Callable[[], int], juicefs: str) -> None:
        self._redis_port, self._password_file = redis_port, password_file
        self._web_port, self._juicefs = web_port, juicefs

    def startService(self) -> None:
        """Say it once, to whoever started us."""
        super().startService()
        if sys.__stdout__ is not None:
            sys.__stdout__.write(self.text())
            sys.__stdout__.flush()

    def text(self) -> str:
        """Commands that work as they stand, in any folder; the password is read from its file, never shown."""
        secret = f"$(cat {shlex.quote(str(self._password_file.absolute()))})"
        juicefs = find(self._juicefs)
        header = f"""printf 'Authorization: Bearer %s\\n' "{secret}\""""  # piped: argv is for all to see
        web, redis = f"http://127.0.0.1:{self._web_port()}", f"redis://127.0.0.1:{self._redis_port}/0"
        mount = f'META_PASSWORD="{secret}" {juicefs or self._juicefs} mount {redis} /tmp/stor-volume'
        return f"""
stor is up: a Redis proxy on 127.0.0.1 port {self._redis_port}, HTTP on {web} (/up /readyz /metrics /bootstrap).
The proxy's password is in {self._password_file.absolute()}. Try, in another terminal:

  REDISCLI_AUTH="{secret}" redis-cli -p {self._redis_port} ping
  {header} | curl -X POST -H @- {web}/bootstrap
  mkdir -p /tmp/stor-volume && {mount}

{self._left_out(juicefs)}Ctrl-C ends it.
"""

    def _left_out(self, juicefs: str | None) -> str:
        missing = []
        if juicefs is None:
            missing.append(f"bootstrap and mount: {self._juicefs} is not installed")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            missing.append("mount: /dev/fuse cannot be opened (a container without it, or not root)")
        return "".join(f"Left out: {line}.\n" for line in missing) + ("\n" if missing else "")
