"""`stor gc`: what is deleted or left over goes now, rather than some time soon."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stor.cli.beside import beside, configured, settings

if TYPE_CHECKING:
    from stor.objects.core import Objects


@click.command()
@configured
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(0, 86400 * 365),
    help="How long bytes stay that nothing refers to; by default objects.gc_grace_seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: {files, uploads, deletions, blobs, copies, rows}.")
def gc(path: Path | None, grace: float | None, *, as_json: bool) -> None:
    r"""Collect now what a running stor collects by and by; it may run meanwhile, and any number of others.

    Told is how many files without a row were found, uploads given up, deletions settled, contents removed that nothing
    referred to, files unlinked, and old rows forgotten.

    \b
    Examples:
      stor gc
      stor gc --config stor.toml --grace 0 --json
    """
    config, counts = settings(path), dict[str, int]()

    async def main(objects: "Objects", reactor: Any) -> None:
        from stor.assembly.objects import gc_settings  # noqa: PLC0415 - it takes a while to load
        from stor.objects.collector import Collector  # noqa: PLC0415
        from stor.objects.ownership import owns  # noqa: PLC0415
        from stor.objects.sweeper import sweep  # noqa: PLC0415

        files = 0
        for storage_class, store in objects.stores.items():
            if await owns(objects.database, storage_class, store):
                files += await sweep(objects, storage_class)
            else:
                click.echo(f"the {storage_class} store belongs to another database: left alone", err=True)
        collected = await Collector(objects, gc_settings(config), objects.metrics, reactor).run(grace)
        counts.update(files=files, **asdict(collected))

    beside(config, main)
    click.echo(json.dumps(counts) if as_json else ", ".join(f"{count} {what}" for what, count in counts.items()))
