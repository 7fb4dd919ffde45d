"""Making, showing and revoking API keys."""

from collections.abc import Callable
from dataclasses import replace
from time import time

from stor.access import rows
from stor.access.key import NAME_CHARACTERS, Key, is_id, new_key
from stor.access.live import LiveKeys
from stor.access.principal import Principal, beyond, check_grant, check_permissions, is_plain, is_tenant
from stor.database.promise import Database, Transaction
from stor.errors import BadRequest, Forbidden, Full, Missing

MOST = 50_000  # live keys
LONGEST = 10 * 366 * 86400  # seconds


class ApiKeys:
    """The keys of a database, looked after by principals who may manage them."""

    def __init__(self, database: Database, live: LiveKeys, *, wall: Callable[[], float] = time) -> None:
        self._database, self._live, self._wall = database, live, wall

    async def create(
        self,
        creator: Principal,
        name: str,
        permissions: frozenset[str],
        tenant: str | None,
        expires_in: float | None = None,
    ) -> tuple[Key, str]:
        """Make a key, and give its text, which nobody can be told again.

        Raises BadRequest, Forbidden (more than its creator holds), Full (too many live keys).
        """
        _check(name, permissions, tenant, expires_in)
        check_grant(creator, permissions, tenant)
        made, now = new_key(), self._now()
        expires_at = None if expires_in is None else now + int(expires_in * 1_000_000)
        key = Key(made.id, made.digest, name, tenant, permissions, creator.name, now, expires_at)

        def insert(transaction: Transaction) -> None:
            if rows.count_live(transaction, now) >= MOST:
                raise Full(f"there may be {MOST} live API keys")
            rows.insert(transaction, key)

        await self._database.write(insert)
        self._live.changed(key)
        return key, made.text

    async def get(self, viewer: Principal, key_id: str) -> Key:
        """Give the key with this id, revoked or not; Missing when there is none within the viewer's tenant."""
        key = await self._database.read(lambda transaction: rows.get(transaction, key_id)) if is_id(key_id) else None
        if key is None or not viewer.reaches(key.tenant):
            raise Missing(f"there is no API key {key_id[:64]}", code="KEY_NOT_FOUND")
        return self._with_use(key)

    async def page(self, viewer: Principal, after: tuple[int, str], limit: int) -> list[Key]:
        """Give the next keys within the viewer's tenant, oldest first, beyond a (created_at, id)."""
        found = await self._database.read(lambda transaction: rows.page(transaction, viewer.tenant, after, limit))
        return [self._with_use(key) for key in found]

    async def revoke(self, viewer: Principal, key_id: str) -> Key:
        """Have it let nobody in any more; one that was revoked stays so. Missing, Forbidden."""
        key = await self.get(viewer, key_id)
        if beyond(viewer, key.permissions):
            raise Forbidden("this key may do more than whoever wants to revoke it")
        if key.revoked_at is None:
            now = self._now()
            await self._database.write(lambda transaction: rows.revoke(transaction, key_id, now))
            key = replace(key, revoked_at=now)
            self._live.changed(key)
        return key

    def _with_use(self, key: Key) -> Key:
        seconds = self._live.last_use(key.id)
        return key if seconds is None else replace(key, last_used_at=int(seconds * 1_000_000))

    def _now(self) -> int:
        return int(self._wall() * 1_000_000)


def _check(name: str, permissions: frozenset[str], tenant: str | None, expires_in: float | None) -> None:
    if not is_plain(name, NAME_CHARACTERS):
        raise BadRequest(f"a key's name has 1 to {NAME_CHARACTERS} characters, none of them a control character")
    check_permissions(permissions)
    if tenant is not None and not is_tenant(tenant):
        raise BadRequest("a tenant has 1 to 128 characters, none of them a control character")
    if expires_in is not None and not 0 < expires_in <= LONGEST:
        raise BadRequest(f"a key ends after 1 to {LONGEST} seconds, or not at all")
