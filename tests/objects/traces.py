"""What a program asked of the system, as strace writes it down."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.programs import program

CALLS = (
    "trace=openat,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,"
    "write,writev,pwrite64,pwritev,sendto,sendmsg"
)
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*)")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """A call: its text, and between which lines of the trace it took place."""

    name: str
    text: str
    begun: int
    ended: int

    def __lt__(self, other: "Call") -> bool:
        """It had ended before the other one began."""
        return self.ended < other.begun


def tracing(file: Path, *more: str) -> Sequence[str]:
    """Give what runs a program so that its calls are written to a file, with the paths of its descriptors."""
    return [program("strace"), "-f", "-y", "-s", "64", "-e", CALLS, "-e", "signal=none", *more, "-o", str(file)]


def calls(file: Path, start: int = 0) -> list[Call]:
    """Read the calls that have begun from line `start` on, and have ended."""
    found, open_ = [], {}
    for at, line in enumerate(file.read_text(errors="replace").splitlines()):
        if resumed := _RESUMED.match(line):
            begun = open_.pop((resumed[1], resumed[2]), None)
            if begun is not None:
                found.append(Call(resumed[2], begun[1] + resumed[3], begun[0], at))
        elif begun := _BEGUN.match(line):
            if line.endswith("<unfinished ...>"):
                open_[begun[1], begun[2]] = at, begun[3].removesuffix("<unfinished ...>")
            else:
                found.append(Call(begun[2], begun[3], at, at))
    return sorted((call for call in found if call.begun >= start), key=lambda call: call.begun)


def length(file: Path) -> int:
    """Give the number of its lines."""
    return file.read_text(errors="replace").count("\n")


class Injecting:
    """While it is entered, calls of a process that runs fail: `Injecting(pid, "fsync", "EIO", "when=2")`."""

    def __init__(self, pid: int, call: str, error: str, when: str = "when=1+") -> None:
        inject = f"inject={call}:error={error}:{when}"
        self._argv = [program("strace"), "-f", "-p", str(pid), "-e", f"trace={call}", "-e", inject]

    def __enter__(self) -> None:
        self._strace = subprocess.Popen(self._argv, stderr=subprocess.PIPE, text=True)
        assert self._strace.stderr is not None
        while "attached" not in (line := self._strace.stderr.readline()):
            assert line, "strace ended"

    def __exit__(self, *_: object) -> None:
        self._strace.terminate()
        self._strace.communicate(timeout=20)
