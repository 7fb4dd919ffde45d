"""Formats the volume once, whoever asks and however often."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from stor.children import Ended, clean_environment, find, run
from stor.children.leash import IReactor
from stor.errors import BadRequest, Conflict, Failed, StorError
from stor.logs import redact
from stor.volume import juicefs
from stor.volume.juicefs import BucketSettings, MetaUrl, Volume

log = Logger()


@dataclass(frozen=True)
class Formatted:
    """What came of it: juicefs' words, free of secrets."""

    output: str
    already_formatted: bool


class Bootstrap:
    """Runs `juicefs format` for one volume, after asking what is there.

    `meta` is None where no Redis is configured. `probe` raises when Redis cannot be reached: juicefs itself
    would take more than a minute to say so.
    """

    def __init__(
        self,
        meta: MetaUrl | None,
        settings: BucketSettings,
        probe: Callable[[], Awaitable[None]],
        reactor: IReactor,
    ) -> None:
        self._meta, self._settings, self._probe, self._reactor = meta, settings, probe, reactor
        self._lock = DeferredLock()

    def format(self, name: str | None = None) -> Deferred[Formatted]:
        """Format the volume unless it is there already; calls at the same time run one after another.

        Fails with BadRequest (a setting is missing, a bad name), Conflict (another volume is there; nothing
        was changed), Unavailable (Redis is away) or Failed (juicefs' last words). Cancelling ends the
        waiting, not the formatting: a caller who hangs up must not leave half a volume.
        """
        name = self._settings.name if name is None else name
        waiting: Deferred[Formatted] = Deferred()
        work = self._lock.run(lambda: Deferred.fromCoroutine(self._logged(name)))
        work.chainDeferred(waiting)
        return waiting

    async def _logged(self, name: str) -> Formatted:
        try:
            done = await self._format(name)
        except StorError as error:
            log.warn("volume {volume} not formatted: {why}", volume=name, why=str(error))
            raise
        log.info("volume {volume} formatted", volume=name, already_formatted=done.already_formatted)
        return done

    async def _format(self, name: str) -> Formatted:
        meta = self._complete()
        wanted = juicefs.wanted(self._settings, juicefs.checked(name))
        settings = replace(self._settings, juicefs=program(self._settings.juicefs))
        await self._probe()
        if (found := await self._status(settings, meta)) is not None:
            _require(found, wanted)
            return Formatted(f"{name} is formatted already", already_formatted=True)
        argv = juicefs.format_argv(settings, meta, name)
        ended = await self._run(argv, juicefs.format_secrets(settings, meta))
        output = self._clean(juicefs.said(ended.err))
        if ended.code != 0:
            raise Failed(output or f"juicefs format ended with {ended.code}")
        # Another process may have been quicker: then juicefs changed nothing, and was content.
        _require(await self._status(settings, meta), wanted)
        return Formatted(output, already_formatted=False)

    def _complete(self) -> MetaUrl:
        """Raise BadRequest with the names of what is not set."""
        settings, needs_keys = self._settings, self._settings.storage == "s3"
        missing = [
            name
            for name, is_missing in (
                ("REDIS_URL", self._meta is None),
                ("STORJ_ACCESS_KEY", needs_keys and not settings.access_key),
                ("STORJ_SECRET_KEY", needs_keys and not settings.secret_key),
                ("STORJ_BUCKET_URL", not settings.bucket),
            )
            if is_missing
        ]
        if self._meta is None or missing:
            raise BadRequest(f"Missing required environment variables: {', '.join(missing)}")
        return self._meta

    async def _status(self, settings: BucketSettings, meta: MetaUrl) -> Volume | None:
        ended = await self._run(juicefs.status_argv(settings, meta), juicefs.status_secrets(meta))
        try:
            return juicefs.read_status(*ended)
        except Failed as error:
            raise Failed(self._clean(str(error))) from None

    async def _run(self, argv: Sequence[str], secrets: Mapping[str, str]) -> Ended:
        return await run(argv, clean_environment(secrets), self._settings.seconds, self._reactor)

    def _clean(self, text: str) -> str:
        password = self._meta.password if self._meta is not None else ""
        return redact(text, [password, self._settings.access_key, self._settings.secret_key])


def _require(found: Volume | None, wanted: Volume) -> None:
    if found is None:
        raise Failed("juicefs format said it was done, but the volume is not there")
    differ = [field for field in Volume._fields if getattr(found, field) != getattr(wanted, field)]
    if differ:
        raise Conflict(f"another volume is there: its {' and '.join(differ)} differ; nothing was changed")


def program(name: str) -> str:
    """Find juicefs; Failed when there is none."""
    found = find(name)
    if found is None:
        raise Failed(f"{name} is not installed")
    return found
