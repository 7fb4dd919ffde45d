"""`stor health`: ask a running stor whether it is ready, as Docker's HEALTHCHECK does."""

import sys
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import click

URL = "http://127.0.0.1:8080/readyz"
SECONDS = 3.0


@click.command()
@click.option("--url", default=URL, show_default=True, help="Where readiness is asked for.")
def health(url: str) -> None:
    """Exit code 0 when ready, 1 when not or when nobody answers within 3 s."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("an http:// or https:// URL is needed", param_hint="--url")
    ready, said = ask(url)
    click.echo(said, err=not ready)
    sys.exit(0 if ready else 1)


def ask(url: str) -> tuple[bool, str]:
    """Whether `url` answers 200, and what to tell; proxies of the environment are not for loopback."""
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return True, f"ready ({answer.status})"
    except HTTPError as answer:
        with answer:
            return False, f"not ready ({answer.code})"
    except (OSError, HTTPException, ValueError) as why:
        return False, f"no answer: {getattr(why, 'reason', why)}"
