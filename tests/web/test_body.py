from twisted.trial.unittest import SynchronousTestCase

from stor.web.body import Body


class BodyTests(SynchronousTestCase):
    def test_keeps(self):
        """Up to the limit all is kept, and read back as any file."""
        body = Body(4, None)
        body.write(b"ab")
        body.write(b"cd")
        body.seek(0)
        self.assertEqual((body.read(), body.over), (b"abcd", False))

    def test_drops(self):
        """One byte more, and nothing is kept any longer, of what came and of what comes."""
        body = Body(4, None)
        for _ in range(1000):
            self.assertEqual(body.write(b"abc"), 3)
        self.assertEqual((body.getvalue(), body.over), (b"", True))

    def test_announced(self):
        """What is announced as too large is never kept at all."""
        body = Body(4, 5)
        body.write(b"a")
        self.assertEqual((body.getvalue(), body.over), (b"", True))
