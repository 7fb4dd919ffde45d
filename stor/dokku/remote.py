"""Dokku's commands over ssh; the one that carries settings is read by ssh from a private file, and is in no argv."""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from stor.dokku.programs import Said, run
from stor.dokku.questions import QUESTIONS
from stor.errors import Failed, Unavailable

SECONDS = 120.0
BUILD_SECONDS = 900.0  # images, checks, and old containers that are given time
OLDEST = (0, 31)  # the first with ports:set and with health checks in app.json
AWAY = 255  # ssh's own exit code: the command was never run, or the connection broke
SSH = ("ssh", "-T", "-o", "ConnectTimeout=15")


@dataclass(frozen=True, slots=True)
class Dokku:
    """A Dokku host; what it complains of is shown without `secrets`. `folder` is private to this user."""

    target: str
    folder: Path
    secrets: Collection[str] = field(repr=False)

    def ask(self, *words: str, seconds: float = SECONDS) -> Said:
        """Run a command there and give how it ended; Unavailable when the host cannot be reached."""
        return self._run([*SSH, self.target, "--", *words], seconds)

    def tell(self, *words: str, seconds: float = SECONDS) -> str:
        """Run a command there and give what it printed; Failed when it did not end well."""
        return self._well(words[0], self.ask(*words, seconds=seconds))

    def check_version(self) -> None:
        """Failed when its Dokku is too old, or does not say."""
        found = re.search(r"(\d+)\.(\d+)\.\d+", self.tell("version"))
        if found is None:
            raise Failed(f"{self.target} does not say which version its Dokku has")
        if (int(found[1]), int(found[2])) < OLDEST:
            raise Failed(f"{self.target} has Dokku {found[0]}; {OLDEST[0]}.{OLDEST[1]} or newer is needed")

    def configure(self, app: str, settings: Mapping[str, str]) -> None:
        """Give the app these settings, without a restart, and take away those of ours that are no more."""
        given = {name: value for name, value in settings.items() if value}
        self._set(app, given)
        there = self.tell("config:keys", app).split()
        gone = [question.name for question in QUESTIONS if question.name in there and question.name not in given]
        if gone:
            self.tell("config:unset", "--no-restart", app, *gone)

    def _set(self, app: str, settings: Mapping[str, str]) -> None:
        """Values in base64 are one word each, whatever a shell there makes of them.

        `config:import` would read them from standard input, but through ssh Dokku runs its config commands
        by xargs, which gives them none.
        """
        pairs = [f"{name}={b64encode(value.encode()).decode()}" for name, value in settings.items()]
        command = " ".join(["config:set", "--no-restart", "--encoded", app, *pairs])
        text = f"RemoteCommand {command}\nRequestTTY no\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"
        with NamedTemporaryFile("w", dir=self.folder, prefix=".ssh-") as file:  # mode 0600
            file.write(text)
            file.flush()
            self._well("config:set", self._run([*SSH, "-F", file.name, self.target], SECONDS))

    def _run(self, argv: list[str], seconds: float) -> Said:
        said = run(argv, seconds)
        if said.code == AWAY:
            raise Unavailable(f"{self.target}: {said.why(self.secrets)}")
        return said

    def _well(self, command: str, said: Said) -> str:
        if said.code:
            raise Failed(f"dokku {command} on {self.target}: {said.why(self.secrets)}")
        return said.out
