"""The git repository that is pushed: two small files that name a version, and no secret."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from stor.dokku.kept import Deployment
from stor.dokku.programs import Said, run, watch
from stor.dokku.secrecy import redacted
from stor.errors import Conflict, Failed

SECONDS = 120.0
WEB_PORT = 8080  # what stor's image listens on
CHECK = {
    "type": "startup",
    "name": "stor is ready",
    "path": "/readyz",
    "port": WEB_PORT,
    "attempts": 20,
    "wait": 3,
    "timeout": 5,
}
DOCKERFILE = """\
# Made by `stor dokku`; a change here is undone by the next deploy.
FROM {image}:{version}
# Who asks is told by Dokku's nginx, which asks from the network of Docker.
ENV STOR_WEB__TRUSTED_PROXIES=172.16.0.0/12
CMD ["twistd", "-n", "--pidfile=", "stor", "run", "--only", "web"]
"""
MARK = "stor"  # the name in app.json, by which an app is known to be ours
DEPLOYED = "refs/stor/deployed"


def files_of(deployment: Deployment) -> dict[str, str]:
    """Say what is deployed, file by file."""
    app = {"name": MARK, "healthchecks": {"web": [CHECK]}}
    return {
        "Dockerfile": DOCKERFILE.format(image=deployment.image, version=deployment.version),
        "app.json": json.dumps(app, indent=2) + "\n",
    }


class Repository:
    """The repository in a folder; what is on the host comes before what is here.

    What git complains of, or the host through it, is shown without `secrets`.
    """

    def __init__(self, folder: Path, secrets: Collection[str] = ()) -> None:
        self._folder, self._secrets = folder, secrets

    def make(self) -> None:
        """Make it when it is not there."""
        if not (self._folder / ".git").exists():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._git("init", "--quiet", "--template=")
            self._git("symbolic-ref", "HEAD", "refs/heads/main")

    def follow(self, url: str, branch: str) -> None:
        """Go on from what the app has now, whoever deployed it; Conflict when that is something else than stor."""
        self._git("fetch", "--quiet", "--no-tags", url, f"+refs/heads/{branch}:{DEPLOYED}")
        app = self._ask("show", f"{DEPLOYED}:app.json")
        try:
            ours = app.code == 0 and json.loads(app.out).get("name") == MARK
        except (ValueError, AttributeError):
            ours = False
        if not ours:
            raise Conflict(f"{url} is another app, not stor's: choose another name by `stor dokku setup --app`")
        self._git("update-ref", "refs/heads/main", DEPLOYED)

    def commit(self, files: Mapping[str, str], message: str) -> None:
        """Make exactly these files the newest commit, unless they are that already."""
        self._git("read-tree", "--empty")
        for name, text in files.items():
            (self._folder / name).write_text(text)
            self._git("add", "--", name)
        tree = self._git("write-tree")
        if self._ask("rev-parse", "--verify", "--quiet", "HEAD^{tree}").out.strip() == tree:
            return
        self._git("commit", "--quiet", "--no-verify", f"--message={message}")

    def head(self) -> str:
        """The newest commit; empty when there is none."""
        if not (self._folder / ".git").exists():  # git would look in the folders above
            return ""
        return self._ask("rev-parse", "--verify", "--quiet", "HEAD").out.strip()

    def push(self, url: str, branch: str, hear: Callable[[str], None]) -> bool:
        """Push, which builds and starts it there; `hear` is told each line that the host prints.

        False when the host had this commit already; Failed when it was refused.
        """
        argv = self._argv("push", "--porcelain", "--no-verify", url, f"main:refs/heads/{branch}")
        said = watch(argv, lambda line: hear(redacted(line, self._secrets)))
        if said.code:
            raise Failed(f"the push to {url} failed; what the host said stands above")
        return not any(line.startswith("=") for line in said.out.splitlines())

    def _argv(self, *words: str) -> list[str]:
        """An author of its own; nothing is signed; no other repository is asked."""
        identity = ["-c", "user.name=stor dokku", "-c", "user.email=stor@localhost", "-c", "commit.gpgsign=false"]
        return ["git", "-C", str(self._folder), *identity, "-c", "gc.auto=0", *words]

    def _ask(self, *words: str) -> Said:
        return run(self._argv(*words), SECONDS)

    def _git(self, *words: str) -> str:
        said = self._ask(*words)
        if said.code:
            raise Failed(f"git {words[0]} in {self._folder}: {said.why(self._secrets)}")
        return said.out.strip()
