"""`stor dokku`: deploy stor to a Dokku host, see how it is, and upgrade it."""

import os
import sys
from dataclasses import replace

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

import stor
from stor.dokku.deploy import State, deploy, look, wait
from stor.dokku.kept import Deployment, home, load, opened, save
from stor.dokku.questions import Question, answered
from stor.dokku.repository import Repository
from stor.dokku.secrecy import shown
from stor.errors import BadRequest, ConfigError

UNWELL = 3  # the exit code of a deployment that is there, or should be, and is not well


@click.group()
def dokku() -> None:
    """Deploy stor's blob API to a Dokku host.

    What was said is kept in ~/.stor/dokku, readable by its owner alone; nothing secret is put on a command line.
    Exit codes: 0 well, 1 an error, 2 a mistyped command line, 3 deployed, but not well (or not deployed).
    """


@dokku.command()
@click.argument("host")
@click.option("--app", help="Name of the app on the host; by default stor.")
@click.option("--branch", help="Branch that the host deploys; by default master.")
@click.option("--image", help="stor's image, without its version; by default stor, as built on the host.")
@click.option("--version", help="Version of the image; by default that of this command.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the environment's word, or fail.")
def setup(host: str, app: str | None, branch: str | None, image: str | None, version: str | None, *, yes: bool) -> None:
    r"""Keep what a deployment to HOST (USER@NAME, or NAME for dokku@NAME) must be told; nothing is deployed yet.

    \b
    It asks for what it was not told before:
      S3_BUCKET, S3_ENDPOINT_URL, AWS_REGION, S3_PREFIX, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
      HEARE_AUTH_URL, HEARE_AUTH_APP_ID, API_KEYS, LOG_LEVEL
    and offers what the environment says under these names.
    \b
    Examples:
      stor dokku setup dokku.example
      S3_BUCKET= HEARE_AUTH_URL= stor dokku setup dokku.example --yes
    """
    folder = home()
    with opened(folder):
        kept = load(folder)
        deployment = Deployment(
            host=host,
            app=app or (kept.app if kept else "stor"),
            branch=branch or (kept.branch if kept else "master"),
            image=image or (kept.image if kept else "stor"),
            version=version or (kept.version if kept else stor.__version__),
            settings=answered(kept.settings if kept else {}, os.environ, None if yes else _ask),
        )
        save(folder, deployment)
    click.echo(f"kept in {folder}; `stor dokku deploy` brings it to {deployment.target}")


@dokku.command(name="deploy")
def deploy_command() -> None:
    """Make the app when there is none, hand over the settings, push, and wait until it is well."""
    with opened(home()):
        _deploy(_kept())


@dokku.command()
@click.argument("version")
def upgrade(version: str) -> None:
    """Deploy VERSION instead of the one that runs; what runs goes on when that fails."""
    with opened(home()):
        _deploy(replace(_kept(), version=version))


@dokku.command()
def status() -> None:
    """Say what is deployed and how it is, secrets hidden."""
    kept = _kept()
    state = look(kept, home())
    Console().print(_table(kept, state))
    sys.exit(0 if state.is_well else UNWELL)


def _deploy(deployment: Deployment) -> None:
    folder = home()
    deploy(deployment, folder, click.echo)
    save(folder, deployment)
    state = wait(deployment, folder)
    click.echo(f"{deployment.app}: {state.words}" + "".join(f"\n{url}" for url in state.urls), err=not state.is_well)
    sys.exit(0 if state.is_well else UNWELL)


def _kept() -> Deployment:
    kept = load(home())
    if kept is None:
        raise ConfigError(f"nothing is kept in {home()}: run `stor dokku setup HOST` first")
    return kept


def _ask(question: Question, offered: str | None) -> str:
    """Ask a person until the answer will do; what a secret is offered as is not shown, and `-` is nothing."""
    hint = " [Enter: as it stands in the environment]" if question.is_secret and offered else ""
    hint += " [-: none]" if question.may_be_empty and offered else ""
    while True:
        said: str = click.prompt(
            f"{question.name}: {question.text}{hint}",
            default=offered if offered is not None else ("" if question.may_be_empty else None),
            show_default=bool(offered) and not question.is_secret,
            hide_input=question.is_secret,
        )
        try:
            return question.checked("" if said.strip() == "-" else said)
        except BadRequest as why:
            click.echo(f"{why}", err=True)


def _table(kept: Deployment, state: State) -> Table:
    """For people; nothing in a value is taken for markup."""
    ours = Repository(home() / "app").head()
    same = bool(state.commit) and ours.startswith(state.commit)
    rows = {
        "host": kept.target,
        "app": kept.app,
        "image": f"{kept.image}:{kept.version}",
        "deployed": "as kept here" if same else ("otherwise" if state.commit else "no"),
        "running": state.running,
        "health": state.words,
        "url": " ".join(state.urls),
        **shown(kept.settings),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    return table
