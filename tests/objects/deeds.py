"""What `tests.objects.child` does to objects."""

from dataclasses import replace

from stor.objects.records import Change, Draft, StorageClass, Wish
from tests.objects.pausing import PausingDatabase, PausingStore
from tests.objects.rooms import KNOWN, LARGE, SMALL, Places, Room, body_of, collect, put


async def run(job, steps, say):
    """Do what the job says, over the places that it names."""
    room = Room(
        Places(**job["places"]),
        node=job["node"],
        database=lambda database: PausingDatabase(database, steps.step),
        stores=lambda name, store: PausingStore(name, store, steps.step),
    )
    await room.startService()
    deed = Deed(room.objects, job["seed"], steps, say)
    name, _, size = job["do"].partition(" ")
    await getattr(deed, name)({"small": SMALL, "large": LARGE}[size])
    await room.stopService()


class Deed:
    """Each of these prepares something, and then does the thing whose steps count."""

    def __init__(self, objects, seed, steps, say):
        self._objects, self._seed, self._steps, self._say = objects, seed, steps, say

    async def _put(self, key, seed, size, **draft):
        """Upload; it counts as kept when the answer has been given, which is a step."""
        name = replace(KNOWN, key=f"{self._seed}/{key}", tenant=f"of {key}")
        made = await put(self._objects, name, body_of(f"{self._seed}{seed}", size), **draft)
        self._steps.reached()
        self._say("kept", made.object.id, f"{self._seed}{seed}", size)
        return made.object

    async def _delete(self, made):
        self._say("gone", made.id)
        await self._objects.delete(made.id)

    async def upload(self, size):
        self._steps.begin()
        await self._put("key", "body", size)

    async def upload_again(self, size):
        await self._put("first", "body", size)
        self._steps.begin()
        await self._put("key", "body", size)

    async def replace(self, size):
        old = await self._put("key", "body", size)
        self._steps.begin()
        self._say("gone", old.id)
        await self._put("key", "other body", size, wish=Wish(match=frozenset({old.etag})))

    async def adopt(self, size):
        made = await self._put("key", "body", size)
        self._steps.begin()
        draft = Draft(replace(made.name, key=f"{self._seed}/adopted"))
        adopted = await self._objects.adopt(draft, made.digest)
        self._steps.reached()
        self._say("kept", adopted.object.id, f"{self._seed}body", size)

    async def delete(self, size):
        made = await self._put("key", "body", size)
        self._steps.begin()
        await self._delete(made)

    async def move(self, size):
        made = await self._put("key", "body", size)
        await self._put("beside", "body", size, storage_class=StorageClass.COLD)
        self._steps.begin()
        await self._objects.change(made.id, Change(storage_class=StorageClass.COLD))
        await self._objects.change(made.id, Change(storage_class=StorageClass.HOT))
        self._steps.reached()

    async def collect(self, size):
        await self._put("kept", "body", size)
        await self._delete(await self._put("shared", "body", size))
        await self._delete(await self._put("alone", "other body", size))
        self._steps.begin()
        await collect(self._objects)
        self._steps.reached()
