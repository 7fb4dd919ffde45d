"""`stor sync DIR URL`: a folder in step with a tree of the blob API."""

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Self

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from stor.client import Allowed, Choice, Outcome, Refused, Remote, Silence, Step, Wishes, planned, watch
from stor.client import sync as sync_once
from stor.client.dialects import root_of
from stor.client.paths import shown
from stor.errors import BadRequest, ConfigError, StorError, TooMany, Unavailable

WELL, ERROR, CONFLICTS, REFUSED, AWAY = 0, 1, 3, 4, 75
_MEANING = {WELL: "in step", ERROR: "error", CONFLICTS: "conflicts", REFUSED: "refused", AWAY: "away"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("url")
@click.option("--namespace", metavar="NS", help="Speak the namespaced dialect, about the tree below NS.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Where the credential is; otherwise STOR_TOKEN of the environment, when set.",
)
@click.option(
    "--ours", "choice", flag_value="ours", help="Where both sides changed: our content replaces the remote's."
)
@click.option("--theirs", "choice", flag_value="theirs", help="Where both sides changed: the remote's replaces ours.")
@click.option("--watch", "stay", is_flag=True, help="Stay, and sync whenever something changes, here or there.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done; nothing is written.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object for each sync.")
@click.option(
    "--ignore", metavar="GLOB", multiple=True, help="Leave these paths alone, on both sides; may be repeated."
)
@click.option(
    "--patience",
    type=click.FloatRange(0, 86400),
    default=60.0,
    show_default=True,
    help="For how many seconds a remote that is away is asked again.",
)
@click.option(
    "--allow-mass-delete", is_flag=True, help="Delete most of the files, when that is what the sync comes to."
)
@click.option("--allow-refill", is_flag=True, help="Upload again what the remote does not know any more.")
def sync(
    folder: Path,
    url: str,
    namespace: str | None,
    token_file: Path | None,
    choice: str | None,
    ignore: tuple[str, ...],
    patience: float,
    *,
    stay: bool,
    dry_run: bool,
    as_json: bool,
    allow_mass_delete: bool,
    allow_refill: bool,
) -> None:
    r"""Make the files in DIR and the tree at URL the same, in both directions; see docs/sync.md.

    Where both changed one file, both contents are kept. Exit code 0: in step, 1: error, 3: conflict copies were
    kept, 4: refused for safety, 75: the remote is away.

    \b
    Examples:
      stor sync ~/memory https://stor.example.org --watch
      stor sync ~/memory https://stor.example.org --dry-run
    """
    if stay and dry_run:
        raise click.UsageError("--watch and --dry-run do not go together")
    try:
        root_of(url)
    except BadRequest as why:
        raise click.BadParameter(str(why), param_hint="URL") from None
    wishes = Wishes(Choice(choice or "both"), ignore, Allowed(mass_delete=allow_mass_delete, refill=allow_refill))
    teller = Teller(as_json=as_json)

    async def main(reactor: Any) -> None:
        remote = Remote(url, _token(token_file), reactor, namespace=namespace, patience=patience)
        try:
            if dry_run:
                teller.plan(*await planned(folder, remote, reactor, wishes))
            elif stay:
                with teller.progress() as progress:
                    await watch(folder, remote, reactor, teller.told, wishes, progress)
            else:
                with teller.progress() as progress:
                    outcome = await sync_once(folder, remote, reactor, wishes, progress)
                teller.told(outcome)
        finally:
            await remote.close()

    signalled = run(main, teller.told)
    sys.exit(teller.code if not signalled or stay else 128 + signalled)


def _token(file: Path | None) -> str | None:
    """Read the credential; never from an argument, which every user of the machine can read."""
    if file is None:
        return os.environ.get("STOR_TOKEN") or None
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{file} cannot be read") from None
    if not token:
        raise ConfigError(f"{file} is empty")
    return token


def run(main: Callable[[Any], Awaitable[None]], failed: Callable[[StorError], object]) -> int:
    """Run `main` in a reactor, and give the number of the signal that ended it, 0 if none did.

    A signal cancels it, and it may tidy up; a second one ends the process at once, which does no harm either.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - importing it would choose it

    loop: Any = reactor
    signals: list[int] = []
    unknown: list[Failure] = []

    def begin() -> None:
        working = Deferred.fromCoroutine(_explained(main(loop), failed))

        def interrupt(number: int, _: FrameType | None) -> None:
            signals.append(number)
            for one in _SIGNALS:
                signal.signal(one, signal.SIG_DFL)
            loop.callFromThread(working.cancel)

        for number in _SIGNALS:
            signal.signal(number, interrupt)
        working.addErrback(lambda why: None if signals and why.check(CancelledError) else unknown.append(why))
        working.addBoth(lambda _: loop.stop())

    loop.callWhenRunning(begin)
    loop.run(installSignalHandlers=False)
    if unknown:
        unknown[0].raiseException()
    return signals[0] if signals else 0


async def _explained(work: Awaitable[None], failed: Callable[[StorError], object]) -> None:
    """Have `failed` told what went wrong, when it is something that we can name."""
    try:
        await work
    except StorError as why:
        failed(why)
    except OSError as why:
        failed(StorError(": ".join(filter(None, (why.filename, why.strerror)))))


class Teller:
    """Tells how it went: people on stdout and stderr, programs as JSON; `code` is the exit code so far."""

    def __init__(self, *, as_json: bool) -> None:
        self.code = WELL
        self._as_json = as_json

    def progress(self) -> "Bar":
        """Give a progress bar, which is only shown to people at a terminal."""
        return Bar(is_shown=sys.stderr.isatty() and not self._as_json)

    def told(self, what: Outcome | StorError) -> None:
        """Tell of a sync that ended, well or not."""
        if isinstance(what, StorError):
            self._failed(what)
            return
        self.code = ERROR if what.problems else CONFLICTS if what.conflicts else WELL
        if self._as_json:
            self._say(_outcome(what, self.code))
            return
        self._lists(what)
        click.echo(_summary(what))

    def plan(self, steps: Sequence[Step], outcome: Outcome) -> None:
        """Tell of a plan."""
        if self._as_json:
            plan = [{"act": step.act.value, "path": shown(step.path)} for step in steps]
            self._say({"status": "planned", "code": WELL, "plan": plan} | _findings(outcome))
            return
        self._lists(outcome)
        for step in steps:
            click.echo(f"{step.act.value:12}  {shown(step.path)}")
        if not steps:
            click.echo("in step: nothing to do")

    def _failed(self, why: StorError) -> None:
        away = isinstance(why, TooMany | Unavailable)
        self.code = REFUSED if isinstance(why, Refused) else AWAY if away else ERROR
        if self._as_json:
            self._say({"status": _MEANING[self.code], "code": self.code, "error": str(why)})
        else:
            click.echo(f"stor: {why}", err=True)

    def _lists(self, outcome: Outcome) -> None:
        for note in outcome.notes:
            click.echo(f"note: {note}", err=True)
        for path, copy in outcome.conflicts:
            click.echo(f"conflict: {shown(path)}: ours is kept as {shown(copy)}", err=True)
        for path, reason in sorted(outcome.problems.items()):
            click.echo(f"not synced: {shown(path)}: {reason}", err=True)

    def _say(self, value: object) -> None:
        click.echo(json.dumps(value))


def _outcome(what: Outcome, code: int) -> dict[str, object]:
    return {
        "status": _MEANING[code],
        "code": code,
        "uploaded": what.uploaded,
        "downloaded": what.downloaded,
        "deleted_here": what.deleted_here,
        "deleted_there": what.deleted_there,
    } | _findings(what)


def _findings(what: Outcome) -> dict[str, object]:
    return {
        "conflicts": [{"path": shown(path), "copy": shown(copy)} for path, copy in what.conflicts],
        "problems": [{"path": shown(path), "reason": why} for path, why in sorted(what.problems.items())],
        "notes": what.notes,
    }


def _summary(what: Outcome) -> str:
    counts = {
        "uploaded": what.uploaded,
        "downloaded": what.downloaded,
        "deleted here": what.deleted_here,
        "deleted there": what.deleted_there,
        "conflicts": len(what.conflicts),
        "not synced": len(what.problems),
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{'not in step' if what.problems else 'in step'}: {said or 'nothing to do'}"


class Bar(Silence):
    """A progress bar on stderr: files done, and bytes moved."""

    def __init__(self, *, is_shown: bool) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown)
        self._task = self._bar.add_task("", total=None, visible=False)
        self._bytes = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def planned(self, steps: Sequence[Step]) -> None:
        """Begin anew: so many files."""
        self._bytes = 0
        self._bar.reset(self._task, total=len(steps), visible=bool(steps), description="")

    def moved(self, size: int) -> None:
        """Count bytes."""
        self._bytes += size
        self._bar.update(self._task, description=decimal(self._bytes))

    def ended(self, step: Step) -> None:
        """Count a file."""
        self._bar.advance(self._task)
