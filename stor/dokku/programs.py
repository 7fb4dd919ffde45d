"""ssh and git as children: with the operator's agent and terminal, without our secrets in argv or environment."""

import os
import subprocess
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from stor.dokku.questions import QUESTIONS
from stor.dokku.secrecy import redacted
from stor.errors import Failed

QUOTED = 4000  # characters of what a child said, at most


class Said(NamedTuple):
    """How a child ended, and what it said."""

    code: int
    out: str
    err: str

    def why(self, secrets: Collection[str]) -> str:
        """The end of its complaint, on one line, without any of `secrets`."""
        text = self.err.strip() or self.out.strip() or f"exit code {self.code}"
        text = redacted(text, secrets)[-QUOTED:]  # in this order: a cut must not leave half a secret
        return " / ".join(line.strip() for line in text.splitlines() if line.strip())


def environment() -> dict[str, str]:
    """Ours, in the plain locale, without the settings that `setup` reads and without git's own variables."""
    ours = {question.name for question in QUESTIONS}
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("GIT_")}
    return kept | {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,  # signing, hooks and templates of the operator are not for our commits
        "GIT_TERMINAL_PROMPT": "0",
    }


def run(argv: Sequence[str], seconds: float) -> Said:
    """Run to the end, with nothing to read; Failed when the program is missing or takes longer."""
    try:
        done = subprocess.run(
            argv, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{argv[0]} did not end within {seconds:g} s") from None
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def watch(argv: Sequence[str], hear: Callable[[str], None]) -> Said:
    """Run to the end, however long it takes, and hand over each line of its stderr as it comes.

    What it says on stdout must be short: it is read when stderr has ended.
    """
    try:
        process = subprocess.Popen(
            argv, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed") from None
    with process:
        for line in process.stderr or ():
            hear(line.decode(errors="replace").rstrip())
        out = process.stdout.read() if process.stdout else b""
    return Said(process.returncode, out.decode(errors="replace"), "")
