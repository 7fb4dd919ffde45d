"""Races on bytes and keys that are shared: each prepares something, and gives the operations that race."""

from stor.errors import PreconditionFailed, StorError
from stor.objects.records import StorageClass, Wish
from tests.objects.races import THEIRS

COLD = StorageClass.COLD


def codes(outcomes, *names):
    """Give the codes of those who were refused, among these."""
    return sorted(str(outcomes[name].code) for name in names if isinstance(outcomes[name], StorError))


async def last_reference(world):
    """The last reference goes, the same bytes come."""
    made = await world.upload("setup", world.name())
    return {
        "delete": world.delete("delete", made.object.id),
        "upload": world.upload("upload", world.name("key", THEIRS)),
    }


async def collection(world):
    """What is deleted is collected, the same bytes come."""
    made = await world.upload("setup", world.name())
    await world.delete("setup", made.object.id)
    return {"collect": world.collect("collect"), "upload": world.upload("upload", world.name("key", THEIRS))}


async def last_reference_and_collection(world):
    """The last reference goes, is collected, the same bytes come."""
    return {**await last_reference(world), "collect": world.collect("collect")}


async def two_deletes(world):
    """One object is deleted twice, while another tenant has its bytes."""
    made = await world.upload("setup", world.name("key"))
    await world.upload("setup", world.name("key", THEIRS))

    def judge(outcomes):
        assert codes(outcomes, "one", "other") == ["OBJECT_NOT_FOUND"], outcomes

    world.judge = judge
    return {"one": world.delete("one", made.object.id), "other": world.delete("other", made.object.id)}


async def two_deletes_and_collection(world):
    """The same, and the collector runs."""
    return {**await two_deletes(world), "collect": world.collect("collect")}


async def damaged(world):
    """What is stored is damaged; the same bytes come, somebody reads, the collector runs."""
    made = await world.upload("setup", world.name())
    world.bearable = {"OBJECT_DAMAGED"}
    await world.damage()
    return {
        "upload": world.upload("upload", world.name("key", THEIRS)),
        "read": world.read("read", made.object.id),
        "collect": world.collect("collect"),
    }


async def damaged_and_same_key(world):
    """What is stored is damaged; the same bytes come under the same key, somebody reads, the collector runs."""
    name = world.name("key")
    made = await world.upload("setup", name)
    world.bearable = {"OBJECT_DAMAGED"}
    await world.damage()

    def judge(outcomes):
        assert outcomes["upload"].object.id == made.object.id, outcomes
        assert not outcomes["upload"].is_new, outcomes

    world.judge = judge
    return {
        "upload": world.upload("upload", name),
        "read": world.read("read", made.object.id),
        "collect": world.collect("collect"),
    }


async def two_classes(world):
    """One moves from hot to cold, the same bytes come to cold."""
    made = await world.upload("setup", world.name())
    return {
        "move": world.move("move", made.object.id, COLD),
        "upload": world.upload("upload", world.name("key", THEIRS), storage_class=COLD),
    }


async def two_classes_and_collection(world):
    """One moves from hot to cold, the one in cold goes, the collector runs."""
    made = await world.upload("setup", world.name())
    cold = await world.upload("setup", world.name("", THEIRS), storage_class=COLD)
    return {
        "move": world.move("move", made.object.id, COLD),
        "delete": world.delete("delete", cold.object.id),
        "collect": world.collect("collect"),
    }


async def moves_and_delete(world):
    """One moves while it is deleted."""
    made = await world.upload("setup", world.name())
    return {"move": world.move("move", made.object.id, COLD), "delete": world.delete("delete", made.object.id)}


async def moves_and_read(world):
    """One moves while it is read, and the collector runs."""
    made = await world.upload("setup", world.name())
    return {
        "move": world.move("move", made.object.id, COLD),
        "read": world.read("read", made.object.id),
        "collect": world.collect("collect"),
    }


async def replaced(world):
    """A key gets other bytes while it is read, and the collector runs."""
    name, other = world.name("key"), world.body[::-1]
    made = await world.upload("setup", name)

    def judge(outcomes):
        assert codes(outcomes, "replace") == [], outcomes

    world.judge = judge
    return {
        "replace": world.replace("replace", name, made, other),
        "read": world.read_key("read", name, [world.body, other]),
        "collect": world.collect("collect"),
    }


async def two_replace(world):
    """A key gets other bytes from two at once, who both know what it had: one of them is too late."""
    name = world.name("key")
    made = await world.upload("setup", name)

    def judge(outcomes):
        assert codes(outcomes, "one", "other") == ["None"], outcomes

    world.judge = judge
    return {
        "one": world.replace("one", name, made, world.body[::-1]),
        "other": world.replace("other", name, made, world.body[1:]),
    }


async def two_replace_any(world):
    """A key gets other bytes from two at once, whatever it has: both do, for it is never free."""
    name = world.name("key")
    made = await world.upload("setup", name)

    def judge(outcomes):
        assert codes(outcomes, "one", "other") == [], outcomes
        world.rivals = {each.object.id for each in outcomes.values()}

    world.judge = judge
    any_etag = Wish(match=frozenset("*"))
    world.leave(made.object.id)
    return {
        "one": world.upload("one", name, world.body[::-1], wish=any_etag),
        "other": world.upload("other", name, world.body[1:], wish=any_etag),
    }


async def same_key(world):
    """Two upload different bytes under one key: one of them gets it."""

    def judge(outcomes):
        (code,) = codes(outcomes, "one", "other")
        assert code in {"KEY_TAKEN", "KEY_BEING_WRITTEN"}, outcomes

    world.judge = judge
    name = world.name("key")
    return {"one": world.upload("one", name), "other": world.upload("other", name, world.body[::-1])}


async def same_key_same_bytes(world):
    """Two upload the same bytes under one key: both get the same object, or one hears that it is being written."""

    def judge(outcomes):
        if codes(outcomes, "one", "other") != ["KEY_BEING_WRITTEN"]:
            one, other = outcomes["one"], outcomes["other"]
            assert one.object.id == other.object.id, outcomes
            assert {one.is_new, other.is_new} == {True, False}, outcomes

    world.judge = judge
    name = world.name("key")
    return {"one": world.upload("one", name), "other": world.upload("other", name)}


async def two_create(world):
    """Two upload under one key that must be free: one of them gets it."""

    def judge(outcomes):
        (refused,) = [each for each in outcomes.values() if isinstance(each, StorError)]
        assert isinstance(refused, PreconditionFailed) or refused.code == "KEY_BEING_WRITTEN", outcomes

    world.judge = judge
    name, absent = world.name("key"), Wish(absent=True)
    return {"one": world.upload("one", name, wish=absent), "other": world.upload("other", name, wish=absent)}


async def adopted(world):
    """Bytes are used again without being sent, while their only object goes and the collector runs."""
    made = await world.upload("setup", world.name())

    def judge(outcomes):
        assert codes(outcomes, "adopt") in ([], ["CONTENT_NOT_FOUND"]), outcomes

    world.judge = judge
    return {
        "adopt": world.adopt("adopt", world.name("key"), made.object.digest),
        "delete": world.delete("delete", made.object.id),
        "collect": world.collect("collect"),
    }


async def given_up(world):
    """An upload is given up while it is under way; somebody else has the same bytes, and deletes them."""
    made = await world.upload("setup", world.name("", THEIRS))
    world.may_stray = True
    return {
        "upload": world.upload("upload", world.name("key")),
        "expire": world.expire("expire"),
        "delete": world.delete("delete", made.object.id),
    }


async def given_up_and_key(world):
    """An upload is given up, and another one takes its key."""
    name = world.name("key")
    world.may_stray = True

    def judge(outcomes):
        assert codes(outcomes, "upload", "other"), outcomes

    world.judge = judge
    return {
        "upload": world.upload("upload", name),
        "expire": world.expire("expire"),
        "other": world.upload("other", name, world.body[::-1]),
    }


async def swept(world):
    """Files without a row are looked for while the same bytes come and go."""
    made = await world.upload("setup", world.name("", THEIRS))
    return {
        "upload": world.upload("upload", world.name("key")),
        "sweep": world.sweep("sweep"),
        "delete": world.delete("delete", made.object.id),
    }


async def two_collectors(world):
    """Two collect at once, the same bytes come."""
    made = await world.upload("setup", world.name())
    await world.delete("setup", made.object.id)
    return {
        "one": world.collect("one"),
        "other": world.collect("other"),
        "upload": world.upload("upload", world.name("key", THEIRS)),
    }
