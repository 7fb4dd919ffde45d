"""A store is like a dict: a machine that does the same to both, in any order."""

from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from stor.errors import Missing, NotSatisfiable, PreconditionFailed
from stor.storage.promise import ABSENT, Store
from tests.storage.stores import keys, read

KEYS = st.sampled_from(["a", "a!", "a/b", "a/b/c", "é", "a%", "a=", "b" * 239, "b" * 240 + "/c"])
BODIES = st.one_of(st.binary(max_size=20), st.sampled_from([b"x" * 65_536, b"y" * 70_000]))


class Model(RuleBasedStateMachine):
    """Each step does the same to the store (in the reactor, while we are in a thread) and to a dict."""

    store: Store  # set by who runs it

    def __init__(self):
        super().__init__()
        self.at, self.model = uuid4().hex + "/", {}

    def do(self, work):
        try:
            return blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(work))
        except (Missing, PreconditionFailed, NotSatisfiable) as error:
            return type(error)

    def holds(self, key, when):
        return when is None or (key not in self.model if when is ABSENT else self.etag(key) == when)

    def etag(self, key):
        return self.model[key][2] if key in self.model else None

    @rule(key=KEYS, body=BODIES, kind=st.sampled_from([None, "text/x"]), how=st.integers(0, 3), other=KEYS)
    def put(self, key, body, kind, how, other):
        when = [None, ABSENT, self.etag(key), self.etag(other)][how]
        metadata = {"length": str(len(body))}
        expected = self.holds(key, when)
        done = self.do(self.store.put(self.at + key, body, content_type=kind, metadata=metadata, when=when))
        if expected:
            self.model[key] = (body, kind, done.etag)
        else:
            assert done is PreconditionFailed

    @rule(key=KEYS, start=st.sampled_from([0, 1, 19, 66_000]), size=st.sampled_from([None, 1, 70_000]))
    def get(self, key, start, size):
        stop = None if size is None else start + size
        found = self.do(self.whole(key, start, stop))
        if key not in self.model:
            assert found is Missing
        elif start and start >= len(self.model[key][0]):
            assert found is NotSatisfiable
        else:
            assert found == self.model[key][0][start:stop]

    async def whole(self, key, start, stop):
        return await read(self.store, self.at + key, start, stop)

    @rule(key=KEYS)
    def head(self, key):
        info = self.do(self.store.head(self.at + key))
        if key not in self.model:
            assert info is Missing
        else:
            body, kind, etag = self.model[key]
            assert (info.size, info.content_type, info.etag) == (len(body), kind, etag)
            assert info.metadata == {"length": str(len(body))}

    @rule(key=KEYS, is_conditional=st.booleans(), other=KEYS)
    def delete(self, key, is_conditional, other):
        when = self.etag(other) if is_conditional else None
        done = self.do(self.store.delete(self.at + key, when=when))
        if self.holds(key, when):
            assert done is None
            self.model.pop(key, None)
        else:
            assert done is PreconditionFailed

    @rule(key=KEYS, to=KEYS)
    def copy(self, key, to):
        if key != to and key in self.model:
            done = self.do(self.store.copy(self.at + key, self.at + to, etag=self.etag(key)))
            self.model[to] = (*self.model[key][:2], done.etag)

    @rule(prefix=st.sampled_from(["", "a", "a/", "b"]), after=KEYS)
    def list_some(self, prefix, after):
        found = self.do(keys(self.store, self.at + prefix, self.at + after))
        assert found == [self.at + key for key in sorted(self.model) if key.startswith(prefix) and key > after]

    @invariant()
    def lists(self):
        async def listed():
            return [(each.key, each.size, each.etag) async for page in self.store.list(self.at) for each in page]

        expected = [(self.at + key, len(self.model[key][0]), self.etag(key)) for key in sorted(self.model)]
        assert self.do(listed()) == expected
