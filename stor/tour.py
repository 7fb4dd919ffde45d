"""What `make run` shows once all is up: what is on, three commands to try, and what was left out and why."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.application.service import Service

from stor.children import find


class Tour(Service):
    """The last to start: prints, and does nothing else. Without a `password_file` there is no Redis proxy.

    `new_key` is the admin key when it has just been made: this is the one time that it is shown.
    """

    def __init__(
        self,
        web_port: Callable[[], int],
        key_file: Path | None,
        new_key: str | None,
        redis_port: int,
        password_file: Path | None,
        juicefs: str,
    ) -> None:
        self._web_port, self._key_file, self._new_key = web_port, key_file, new_key
        self._redis_port, self._password_file, self._juicefs = redis_port, password_file, juicefs

    def startService(self) -> None:
        """Say it once, to whoever started us."""
        super().startService()
        if sys.__stdout__ is not None:
            sys.__stdout__.write(self.text())
            sys.__stdout__.flush()

    def text(self) -> str:
        """Commands that work as they stand, in any folder; secrets are read from their files, never shown."""
        web = f"http://127.0.0.1:{self._web_port()}"
        lines = [f"stor is up: HTTP on {web} (/blob/... /sync /events /metrics /openapi.json /readyz)"]
        commands = []
        if self._key_file is not None:
            shown = "" if self._new_key is None else f" (new, shown this once: {self._new_key})"
            lines.append(f"The admin key is in {self._key_file.absolute()}{shown}.")
            header = _header(self._key_file)
            commands.append(f"{header} | curl -H @- -X PUT -d 'Hello!' {web}/blob/notes/hello.txt")
            commands.append(f"{header} | curl -H @- {web}/sync")
        if self._password_file is not None:
            lines[0] += f", a Redis proxy on 127.0.0.1 port {self._redis_port}"
            lines.append(f"The proxy's password is in {self._password_file.absolute()}.")
            commands += self._redis(web, self._password_file)
        lines[0] += "."
        said, typed = "\n".join(lines), "".join(f"  {command}\n" for command in commands)
        return f"\n{said}\nTry, in another terminal:\n\n{typed}\n{self._left_out()}Ctrl-C ends it.\n"

    def _redis(self, web: str, file: Path) -> list[str]:
        secret, redis = _secret(file), f"redis://127.0.0.1:{self._redis_port}/0"
        juicefs = find(self._juicefs) or self._juicefs
        return [
            f'REDISCLI_AUTH="{secret}" redis-cli -p {self._redis_port} ping',
            f"{_header(file)} | curl -X POST -H @- {web}/bootstrap",
            f'mkdir -p /tmp/stor-volume && META_PASSWORD="{secret}" {juicefs} mount {redis} /tmp/stor-volume',
        ]

    def _left_out(self) -> str:
        missing = []
        if self._password_file is None:
            missing.append("the Redis proxy: nothing stands behind it; set redis.url, or redis.server")
        elif find(self._juicefs) is None:
            missing.append(f"bootstrap and mount: {self._juicefs} is not installed")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            missing.append("mount: /dev/fuse cannot be opened (a container without it, or not root)")
        return "".join(f"Left out: {line}.\n" for line in missing) + ("\n" if missing else "")


def _secret(file: Path) -> str:
    return f"$(cat {shlex.quote(str(file.absolute()))})"


def _header(file: Path) -> str:
    """Print a header into a pipe: argv is for all to see."""
    return f"""printf 'Authorization: Bearer %s\\n' "{_secret(file)}\""""
