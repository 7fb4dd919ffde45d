from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import TooLarge
from stor.web.memory import Memory


class MemoryTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=10), max_size=10), st.integers(0, 50))
    def test_keeps(self, pieces, limit):
        """Up to the limit all is kept, in order; one byte more, and nothing is, and `finish` says so."""
        memory = Memory(limit)
        for piece in pieces:
            self.assertIsNone(memory.write(piece))
        whole = b"".join(pieces)
        self.assertEqual((memory.size, memory.over), (len(whole), len(whole) > limit))
        done = Deferred.fromCoroutine(memory.finish())
        if memory.over:
            self.failureResultOf(done, TooLarge)
        else:
            self.successResultOf(done)
        self.assertEqual(memory.content, b"" if memory.over else whole)

    def test_discard(self):
        """What was discarded is gone, however often."""
        memory = Memory(4)
        memory.write(b"ab")
        memory.discard()
        memory.discard()
        self.assertEqual(memory.content, b"")
