"""What tests of the collector and its neighbours share."""

import os
from errno import EIO
from pathlib import Path

from twisted.internet import reactor

from stor.objects.collector import Collector, GcSettings
from stor.objects.ownership import KEY
from stor.objects.records import Draft, Name, StorageClass

HOT = StorageClass.HOT


def execute(sql, *parameters):
    """Give a work that runs one statement."""
    return lambda tx: tx.execute(sql, parameters)


def bad_sector(case, copy):
    """Have the disk fail below a copy in a folder, as it would."""
    name, read = copy.rpartition("/")[2], os.pread

    def pread(fd, size, offset):
        if name in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(EIO, os.strerror(EIO))
        return read(fd, size, offset)

    case.patch(os, "pread", pread)


async def count(objects, table, where="1 = 1"):
    """Count rows."""
    sql = f"SELECT COUNT(*) FROM {table} WHERE {where}"  # noqa: S608 - words of our tests
    ((found,),) = await objects.database.read(execute(sql))
    return found


async def keys(*stores, prefix=""):
    """Give the keys that are in these stores, but for the one that says whose they are."""
    found = [each.key for store in stores async for page in store.list(prefix) for each in page]
    return [key for key in found if key != KEY]


def collector(objects, settings=None):
    """Give one that is not started."""
    return Collector(objects, settings or GcSettings(), objects.metrics, reactor)


async def begun(objects, key, copy=None):
    """Begin an upload that does not end, and say where its bytes will be; give its body."""
    body = objects.receive(Draft(Name("photos", "acme", key)), 2 << 20)
    await body.written_down()
    if copy is not None:
        named = "UPDATE object SET copy = ? WHERE id = ?"
        await objects.database.write(execute(named, copy, body.reserved.id))
    return body
