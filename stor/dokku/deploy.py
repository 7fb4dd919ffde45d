"""How a deployment gets to its host, and how it is there."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stor.dokku.kept import Deployment
from stor.dokku.remote import BUILD_SECONDS, Dokku
from stor.dokku.repository import WEB_PORT, Repository, files_of
from stor.dokku.secrecy import secrets_of

HEALTH_SECONDS = 90.0
PAUSE_SECONDS = 2.0
DATA = "/data"  # where stor's image keeps its data

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class State:
    """What the host says: whether the app is there, runs, and is well; `commit` is what it was built from."""

    exists: bool
    running: str = "false"
    is_well: bool = False
    words: str = "not deployed"
    commit: str = ""
    urls: tuple[str, ...] = ()


def deploy(deployment: Deployment, folder: Path, tell: Tell) -> None:
    """Bring it to its host: make the app when there is none, hand over the settings, push.

    Dokku builds it, starts it, and lets it have the traffic when it is ready. Unavailable, Failed or Conflict
    when that could not be done; what ran before goes on.
    """
    dokku = _host(deployment, folder)
    app, url = deployment.app, f"{deployment.target}:{deployment.app}"
    dokku.check_version()
    if not _exists(dokku, app):
        tell(f"making the app {app} on {deployment.target}")
        dokku.tell("apps:create", app)
    was_deployed = dokku.tell("ps:report", app, "--deployed").strip() == "true"
    repository = Repository(folder / "app", dokku.secrets)
    repository.make()
    if was_deployed:
        repository.follow(url, deployment.branch)
    else:
        _prepare(dokku, deployment)
    if deployment.is_local:
        _mount(dokku, app)
    tell("handing over the settings")
    dokku.configure(app, deployment.settings)
    repository.commit(files_of(deployment), f"Deploy {deployment.image}:{deployment.version}")
    tell(f"pushing {deployment.image}:{deployment.version}")
    if not repository.push(url, deployment.branch, lambda line: tell(f"  {line}")):
        tell("it is there already; building it again, with the settings")
        dokku.tell("ps:rebuild", app, seconds=BUILD_SECONDS)


def look(deployment: Deployment, folder: Path) -> State:
    """Ask the host how the app is; Unavailable when the host cannot be reached."""
    dokku = _host(deployment, folder)
    app = deployment.app
    if not _exists(dokku, app):
        return State(exists=False, words="no such app")
    if dokku.tell("ps:report", app, "--deployed").strip() != "true":
        return State(exists=True)
    health = dokku.ask("enter", app, "web", "stor", "health")
    return State(
        exists=True,
        running=dokku.tell("ps:report", app, "--running").strip(),
        is_well=health.code == 0,
        words=health.why(dokku.secrets) if health.code else health.out.strip(),
        commit=dokku.tell("git:report", app, "--git-sha").strip(),
        urls=tuple(dokku.tell("urls", app).split()),
    )


def wait(deployment: Deployment, folder: Path, seconds: float = HEALTH_SECONDS) -> State:
    """Look until the app is well, or for so long; give what was seen last."""
    deadline = time.monotonic() + seconds
    while True:
        state = look(deployment, folder)
        if state.is_well or time.monotonic() > deadline:
            return state
        time.sleep(PAUSE_SECONDS)


def _host(deployment: Deployment, folder: Path) -> Dokku:
    return Dokku(deployment.target, folder, secrets_of(deployment.settings))


def _exists(dokku: Dokku, app: str) -> bool:
    return dokku.ask("apps:exists", app).code == 0


def _prepare(dokku: Dokku, deployment: Deployment) -> None:
    """Before the first deploy; later the operator may have changed these, and is right."""
    app = deployment.app
    dokku.tell("ports:set", app, f"http:80:{WEB_PORT}")
    dokku.tell("git:set", app, "deploy-branch", deployment.branch)
    dokku.tell("nginx:set", app, "client-max-body-size", "0")  # stor has a limit of its own, and a better answer


def _mount(dokku: Dokku, app: str) -> None:
    """Keep the data in a volume of Docker's, which takes its owner from the image.

    One process holds a data folder: the old container must end before the new one starts.
    """
    if f":{DATA}" not in dokku.tell("storage:list", app):
        dokku.tell("storage:mount", app, f"{app}-data:{DATA}")
    dokku.tell("checks:disable", app, "web")
