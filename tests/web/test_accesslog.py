import io
import json

from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from stor.access.principal import Principal
from stor.logs import observer
from stor.web.accesslog import DELAY_SECONDS, MOST_LINES, AccessLog, through
from stor.web.call import Call


def call(path="/x", principal=None):
    made = Call("GET", path.encode(), {}, request_id="id-1", peer="192.0.2.1")
    made.read_path()
    made.principal = principal
    return made


class BatchTests(SynchronousTestCase):
    def setUp(self):
        self.clock, self.batches = Clock(), []
        self.log = AccessLog(self.batches.append, self.clock)

    def test_late(self):
        """What comes within a tenth of a second is written together, and no later than that."""
        self.log.note(call("/a"), 200, 3, 0.1)
        self.clock.advance(DELAY_SECONDS / 2)
        self.log.note(call("/b"), 200, 3, 0.1)
        self.assertEqual(self.batches, [])
        self.clock.advance(DELAY_SECONDS / 2)
        self.assertEqual([[line.path for line in batch] for batch in self.batches], [["/a", "/b"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self):
        """No more than so many wait."""
        for _ in range(3 * MOST_LINES + 1):
            self.log.note(call(), 200, 3, 0.1)
        self.assertEqual([len(batch) for batch in self.batches], [MOST_LINES] * 3)
        self.log.flush()
        self.log.flush()
        self.assertEqual([len(batch) for batch in self.batches[3:]], [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent(self):
        """Where nobody reads it nothing is kept, and no timer runs."""
        log = AccessLog(None, self.clock)
        log.note(call(), 200, 3, 0.1)
        log.refused(400, "192.0.2.1", "id-1")
        log.flush()
        self.assertEqual((log._lines, self.clock.getDelayedCalls()), ([], []))


class LineTests(SynchronousTestCase):
    def written(self, form):
        """What our own observer makes of two lines."""
        stream, clock = io.StringIO(), Clock()
        log = AccessLog(through(Logger("web", observer=observer(stream, form, "info"))), clock)
        log.note(call("/a%20b\n%1b", Principal("ann", frozenset())), 206, 3, 0.1234567)
        log.refused(400, "192.0.2.2", "id-2")
        log.flush()
        return stream.getvalue().splitlines()

    def test_json(self):
        """One JSON object a line, with all that one needs to find it."""
        first, second = map(json.loads, self.written("json"))
        self.assertRegex(first.pop("ts"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        expected = {
            "level": "info",
            "event": "GET /a b\n\x1b 206",
            "method": "GET",
            "path": "/a b\n\x1b",
            "status": 206,
            "bytes": 3,
            "duration": 0.123457,
            "remote": "192.0.2.1",
            "request_id": "id-1",
            "principal": "ann",
        }
        self.assertEqual(first, expected)
        self.assertEqual((second["event"], second["status"], second["remote"]), ("refused 400", 400, "192.0.2.2"))

    def test_text(self):
        """For people; and nothing in a path begins a line or a colour."""
        first, second = self.written("text")
        self.assertIn(r"GET /a b\n\x1b 206", first)
        self.assertIn("refused 400", second)

    def test_another_observer(self):
        """One that is not ours shows each answer, too."""
        events = []
        log = AccessLog(through(Logger("web", observer=events.append)), Clock())
        log.note(call("/a"), 200, 3, 0.1)
        log.note(call("/b"), 404, 3, 0.1)
        log.flush()
        (event,) = events
        self.assertEqual(formatEvent(event), "GET /a 200 192.0.2.1 id-1\nGET /b 404 192.0.2.1 id-1")
