"""What `tests.objects.child` does with uploads, and where it dies: before each transaction and each call of a store."""

from twisted.internet import reactor
from twisted.internet.task import deferLater

from stor.objects.records import Draft
from stor.objects.resumable.records import Plan, Wanted
from stor.objects.resumable.service import Settings, Uploads
from tests.objects.pausing import PausingDatabase, PausingStore
from tests.objects.rooms import KNOWN, Places, Room, body_of, invariants

HALF = 600_000  # two of them are more than an object takes before it has its key
BODY = body_of("crash", 2 * HALF)
AS_PARTS = Settings(direct_bytes=1000)


def opened(at, step):
    """Give a room whose steps are counted."""
    return Room(
        at,
        database=lambda real: PausingDatabase(real, step),
        stores=lambda each, real: PausingStore(each, real, step),
    )


async def begin(uploads, key, length):
    """Make an upload and give its id."""
    plan = Plan(Draft(KNOWN.__class__(KNOWN.namespace, KNOWN.tenant, key)), length)
    piece = uploads.begin(plan, 0, None)
    await piece.finish()
    return (await uploads.create(piece)).id


async def send(uploads, upload_id, start, data):
    """Append a piece; give the upload."""
    piece = uploads.piece(Wanted(upload_id, None, start, len(data)), None)
    for at in range(0, len(data), 1 << 16):
        room = piece.write(data[at : at + (1 << 16)])
        if room is not None:
            await room
    await piece.finish()
    return await uploads.append(piece)


async def at_rest(objects):
    """Wait until what was given up has gone, and see that all is well; give the number of objects."""
    while await objects.database.read(lambda tx: tx.execute("SELECT id FROM object WHERE state = 'WRITING'")):
        await deferLater(reactor, 0.01)
    await invariants(objects)
    ((found,),) = await objects.database.read(lambda tx: tx.execute("SELECT COUNT(*) FROM object"))
    return found


async def run(job, steps, say):
    """Send an upload; say what was acknowledged."""
    room = opened(Places(**job["places"]), steps.step)
    await room.startService()
    uploads = Uploads(room.objects, AS_PARTS, reactor)
    await uploads.startService()
    body = BODY[: job["size"]]
    half = len(body) // job["pieces"]
    steps.begin()
    upload_id = await begin(uploads, job["key"], len(body))
    steps.reached()
    say("upload", upload_id, 0)
    for start in range(0, len(body), half):
        upload = await send(uploads, upload_id, start, body[start : start + half])
        say("upload", upload_id, upload.received)
    steps.reached()
