"""What the commands about objects share: how they find the server, and how they begin and end."""

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from stor.cli.keys import reaching, server
from stor.cli.sync import run
from stor.cli.telling import Teller
from stor.client.dialects import root_of
from stor.client.hands import Hands
from stor.client.objects.names import Name, Ref, named, place
from stor.client.objects.remote import PATIENCE_SECONDS, RemoteObjects
from stor.client.objects.transfer import Transfers
from stor.client.objects.wish import Manner, etag_of, metadata_of
from stor.errors import BadRequest

T = TypeVar("T")

PIPE = "-"
THREADS = 4

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the server is and how patiently it is asked, as it was said."""

    url: str | None
    key_file: Path | None
    config: Path | None
    patience: float


def remote(command: Command) -> Command:
    """Give a command the options by which it finds the server, as `reach`; and `as_json`."""

    @wraps(command)
    def collected(
        *, url: str | None, key_file: Path | None, config: Path | None, patience: float, **others: Any
    ) -> None:
        command(reach=Reach(url, key_file, config, patience), **others)

    patience = click.option(
        "--patience",
        metavar="SECONDS",
        type=click.FloatRange(0, 86400),
        default=PATIENCE_SECONDS,
        show_default=True,
        help="For how long a server that is away is asked again.",
    )
    return reaching(patience(collected))


def writing(command: Command) -> Command:
    """Give a command the options that say how objects are written, as `manner`."""

    @wraps(command)
    def collected(*, meta: tuple[str, ...], if_match: str | None, absent: bool, replaces: bool, **others: Any) -> None:
        if sum((if_match is not None, absent, replaces)) > 1:
            raise click.UsageError("--if-match, --if-none-match and --replace do not go together")
        said = {name: others.pop(name) for name in ("storage_class", "content_type", "skips")}
        metadata = checked(metadata_of, meta, "--meta") if meta else None
        match = checked(etag_of, if_match, "--if-match") if if_match is not None else None
        command(manner=Manner(metadata=metadata, match=match, absent=absent, replaces=replaces, **said), **others)

    made: Command = collected
    for option in (
        click.option("--skip-if-held", "skips", is_flag=True, help="Hash first; what the tenant has is not sent."),
        click.option("--replace", "replaces", is_flag=True, help="Replace whatever has the name."),
        click.option("--if-none-match", "absent", is_flag=True, help="Only if nothing has the name."),
        click.option("--if-match", metavar="ETAG", help="Replace what has the name, if it has this ETag; * for any."),
        click.option("--content-type", metavar="TYPE", help="By default it is guessed by the name."),
        click.option("--meta", multiple=True, metavar="NAME=VALUE", help="Kept with it; may be repeated."),
        click.option("--class", "storage_class", type=click.Choice(["hot", "cold"]), help="Where the bytes are kept."),
    ):
        made = option(made)
    return made


def work(reach: Reach, teller: Teller, main: Callable[[Transfers], Awaitable[None]]) -> NoReturn:
    """Do `main` with what moves objects, and end the process with the code that fits."""
    found = server(reach.url, reach.key_file, reach.config)
    checked(root_of, found.url, "--url")

    async def begun(reactor: Any) -> None:
        store = RemoteObjects(found.url, found.key, reactor, patience=reach.patience, told=teller.waits)
        hands = Hands(THREADS, reactor)
        try:
            with teller.bar:
                await main(Transfers(store, hands, teller.bar))
        except BrokenPipeError:  # nobody reads what we say
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            teller.unheard()
        finally:
            await hands.rest()
            await store.close()

    signalled = run(begun, teller.ended)
    sys.exit(128 + signalled if signalled else teller.code)


def ref(text: str) -> Ref:
    """Read a name or an id that was typed."""
    return checked(named, text, "NAME")


def folder(text: str) -> Name:
    """Read a name below which there may be many; it must say whose."""
    found = checked(place, text, "NAME")
    if not found.tenant:
        raise click.BadParameter("it must say whose: stor://namespace/tenant/", param_hint="NAME")
    return found


def checked(read: Callable[[Any], T], text: object, hint: str) -> T:
    """Read what was typed; a mistake is one of the command line."""
    try:
        return read(text)
    except BadRequest as why:
        raise click.BadParameter(str(why), param_hint=hint) from None
