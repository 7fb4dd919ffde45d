"""`stor fsck`: the database against the bytes, both ways."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stor.cli.beside import beside, configured, settings
from stor.client.paths import shown

if TYPE_CHECKING:
    from stor.objects.audits.inquiry import Counts, Finding
    from stor.objects.core import Objects

WELL, REPAIRED, LEFT = 0, 3, 4


@click.command()
@configured
@click.option("--repair", is_flag=True, help="Put right what can be; otherwise nothing is changed.")
@click.option("--deep", is_flag=True, help="Hash all that is stored, rather than ask for its size.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: a line for each finding, and one at the end.")
def fsck(path: Path | None, *, repair: bool, deep: bool, as_json: bool) -> None:
    r"""Compare the database with the bytes, both ways; a running stor may go on meanwhile.

    Each finding is a line: what it is about, where, what is wrong. Exit code 0: nothing was found, 1: it could not be
    done, 2: a mistyped command line, 3: all that was found is repaired, 4: something is left.

    \b
    Examples:
      stor fsck
      stor fsck --config stor.toml --deep --repair --json
    """
    config, found = settings(path), list["Counts"]()

    async def main(objects: "Objects", reactor: Any) -> None:
        from stor.objects.fsck import fsck as check  # noqa: PLC0415 - it takes a while to load

        found.append(await check(objects, repair, deep, _teller(as_json=as_json)))

    beside(config, main)
    [counts] = found
    told = {"found": counts.found, "repaired": counts.repaired, "left": counts.left}
    click.echo(json.dumps(told) if as_json else ", ".join(f"{count} {what}" for what, count in told.items()))
    sys.exit(LEFT if counts.left else REPAIRED if counts.found else WELL)


def _teller(*, as_json: bool) -> Callable[["Finding"], None]:
    """Give what tells of a finding as it is found."""

    def tell(finding: "Finding") -> None:
        if as_json:
            words = {"check": finding.check.value, "subject": finding.subject, "text": finding.text}
            click.echo(json.dumps({**words, "repaired": finding.is_repaired}))
        else:
            done = "; repaired" if finding.is_repaired else ""
            click.echo(shown(f"{finding.check.value}: {finding.subject}: {finding.text}{done}"))

    return tell
