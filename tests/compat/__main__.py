"""Run strangers' Redis suites directly and through the proxy, and compare which tests fail."""

import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from bench.redis.peers import Peer, Stor
from tests.compat.results import Case, Pair, Verdict, differing, judge
from tests.compat.suites import GIVE_UP, RedisPy, Results, Suite, Tcl
from tests.servers import RedisServer, Server

ATTEMPTS = 3
SUITES: dict[str, Callable[[Path], Suite]] = {
    "redis-tcl": Tcl,
    "redis-py-resp2": lambda work: RedisPy(work, 2),
    "redis-py-resp3": lambda work: RedisPy(work, 3),
}


class Command(Peer):
    """A proxy given as a command line with `{listen}` and `{upstream}` for the two ports on loopback."""

    name = "command"

    def __init__(self, upstream: RedisServer, template: str) -> None:
        super().__init__(upstream)
        self._template = template

    def argv(self) -> Sequence[str]:
        """Fill in the ports."""
        filled = self._template.format(listen=self.port, upstream=self.upstream.port)
        return shlex.split(filled)


class Bed:
    """Where a suite runs: two equal servers, one of them behind the proxy."""

    def __init__(self, template: str | None, folder: Path) -> None:
        self._template, self._folder = template, folder

    def run(self, suite: Suite, groups: Collection[str] = ()) -> tuple[Results, Results]:
        """Run it on both sides at once, each with a fresh server of its own."""
        with ThreadPoolExecutor(2) as sides:
            direct = sides.submit(self._directly, suite, groups)
            proxied = sides.submit(self._proxied, suite, groups)
            try:
                return direct.result(), proxied.result()
            except BaseException:
                GIVE_UP.set()  # we are told to end, or one side cannot start: the other side ends as well
                raise

    def _directly(self, suite: Suite, groups: Collection[str]) -> Results:
        with self._server() as server:
            return suite.run(server.port, self._place(suite, "direct"), groups)

    def _proxied(self, suite: Suite, groups: Collection[str]) -> Results:
        with self._server() as server, self._proxy(server) as proxy:
            return suite.run(proxy.port, self._place(suite, "proxied"), groups)

    def _server(self) -> RedisServer:
        return RedisServer("--enable-protected-configs", "yes", "--enable-debug-command", "yes")

    def _proxy(self, server: RedisServer) -> Server:
        return Command(server, self._template) if self._template else Stor(server)

    def _place(self, suite: Suite, side: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{suite.name}-{side}-", dir=self._folder))


def compare(suite: Suite, bed: Bed) -> bool:
    """Run one suite, run again what differed, report; True when the proxy changes nothing."""
    direct, proxied = bed.run(suite)
    for side, results in (("direct", direct), ("proxied", proxied)):
        click.echo(
            f"{suite.name:15} {side:8} {results.count('passed'):5} passed {results.count('failed'):3} failed"
            f" {results.count('skipped'):5} skipped {results.seconds:6.0f} s"
        )
    if direct.trouble or proxied.trouble or not direct.count("passed"):
        click.echo(f"{suite.name} did not come to its end:\n{direct.trouble or proxied.trouble}")
        return False
    attempts = [(direct.outcomes, proxied.outcomes)]
    if suspects := differing(*attempts[0]):
        groups = sorted({test.group for test in suspects})
        click.echo(f"  {len(suspects)} outcomes differ; again: {', '.join(groups)}")
        for _ in range(ATTEMPTS - 1):
            one, other = bed.run(suite, groups)
            attempts.append((one.outcomes, other.outcomes))
    return report(direct, judge(attempts))


def report(direct: Results, verdict: Verdict) -> bool:
    """Say which tests fail without the proxy as well, which are flaky, and which the proxy changes."""
    for test, outcome in sorted(direct.outcomes.items()):
        if outcome == "failed" and test not in verdict.flaky and test not in verdict.different:
            click.echo(f"  fails on both sides: {test}")
    _tell("flaky", verdict.flaky)
    _tell("DIFFERENT", verdict.different)
    click.echo("  the proxy changes nothing" if not verdict.different else "  the proxy changes something")
    return not verdict.different


def _tell(word: str, tests: Mapping[Case, Sequence[Pair]]) -> None:
    for test, pairs in tests.items():
        history = ", ".join(f"{pair.direct}/{pair.proxied}" for pair in pairs)
        click.echo(f"  {word} (direct/proxied): {test}: {history}")


@click.command()
@click.option("--only", type=click.Choice(sorted(SUITES)), multiple=True, help="Run only this suite; may be repeated.")
@click.option("--proxy", metavar="COMMAND", help="Another proxy, with {listen} and {upstream} for its ports.")
@click.option("--work", type=click.Path(path_type=Path), default=Path(".compat"), help="Where downloads are kept.")
def main(only: Sequence[str], proxy: str | None, work: Path) -> None:
    """Compare Redis's and redis-py's own tests, direct and through stor's proxy; exit 1 where they differ."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    work = work.resolve()
    work.mkdir(exist_ok=True)
    (work / ".gitignore").write_text("*\n")  # others' sources stay out of our history and our linters
    runs = work / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir()
    bed = Bed(proxy, runs)
    equal = [compare(SUITES[name](work), bed) for name in SUITES if not only or name in only]
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
