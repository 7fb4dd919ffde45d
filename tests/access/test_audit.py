from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from stor.access.audit import Audit
from stor.access.principal import Principal


class Call:
    def __init__(self, method="PUT", principal=None):
        self.method, self.path, self.route = method, "/blob/a", "/blob/<path:path>"
        self.remote, self.request_id, self.principal = "192.0.2.1", "r1", principal
        self.query = {"stor-signature": "swordfish"}

    def header(self, name):
        return "Bearer swordfish"


class Turns:
    """A reactor that takes one turn when it is told to."""

    def __init__(self):
        self.calls = []

    def callLater(self, seconds, call):
        self.calls.append(call)
        return call

    def next(self):
        self.calls.pop(0)()


class AuditTests(SynchronousTestCase):
    def setUp(self):
        self.events, self.clock, self.registry = [], Clock(), CollectorRegistry()
        self.audit = self.make()

    def make(self, **more):
        return Audit(Logger("audit", observer=self.events.append), self.registry, self.clock, **more)

    def said(self, *names):
        lines = [line for event in self.events for line in event.get("lines", [event])]
        return [tuple(line.get(name) for name in names) for line in lines]

    def test_who_and_what(self):
        """A line says who, what, from where, with which outcome; no query and no header."""
        self.audit.note(Call(principal=Principal("alice", frozenset(), "acme")), 201)
        self.clock.advance(0)
        names = ("principal", "tenant", "method", "path", "route", "remote", "status", "outcome", "request_id")
        told = ("alice", "acme", "PUT", "/blob/a", "/blob/<path:path>", "192.0.2.1", 201, "done", "r1")
        self.assertEqual(self.said(*names), [told])
        self.assertNotIn("swordfish", str(self.events))

    def test_which(self):
        """Whatever may change something, and whatever was refused; not what only looks, found or not."""
        for method, status, outcome in (
            ("GET", 200, None),
            ("GET", 404, None),
            ("HEAD", 500, None),
            ("OPTIONS", 204, None),
            ("GET", 401, "refused"),
            ("HEAD", 403, "refused"),
            ("GET", 429, "refused"),
            ("PUT", 401, "refused"),
            ("PUT", 412, "failed"),
            ("POST", 503, "failed"),
            ("DELETE", 204, "done"),
            ("BREW", 200, "done"),
        ):
            self.events.clear()
            self.audit.note(Call(method), status)
            self.clock.advance(0)
            self.assertEqual(self.said("outcome"), [] if outcome is None else [(outcome,)])

    def test_later(self):
        """Nothing is written while the request is answered; then a few at a time, in their order."""
        turns = Turns()
        audit = Audit(Logger("audit", observer=self.events.append), CollectorRegistry(), turns)
        for status in range(200, 450):
            audit.note(Call(), status)
        written = []
        while turns.calls:
            written.append(len(self.said("status")))
            turns.next()
        self.assertEqual(written, [0, 100, 200])
        self.assertEqual(self.said("status"), [(status,) for status in range(200, 450)])
        audit.note(Call(), 200)
        self.assertEqual(len(turns.calls), 1)

    def test_bounded(self):
        """What does not fit is dropped, counted, and said once."""
        self.registry = CollectorRegistry()
        audit = self.make(most=3)
        for status in range(200, 205):
            audit.note(Call(), status)
        self.clock.advance(0)
        self.assertEqual(self.said("status"), [(200,), (201,), (202,), (None,)])
        self.assertEqual(self.events[-1]["count"], 2)
        self.assertEqual(self.registry.get_sample_value("stor_audit_dropped_total"), 2)
        audit.note(Call(), 299)
        self.clock.advance(0)
        self.assertEqual(len(self.said("status")), 5)

    def test_long_path(self):
        """A path is cut; the line stays one line."""
        call = Call()
        call.path = "/" + "x" * 5000
        self.audit.note(call, 201)
        self.clock.advance(0)
        self.assertEqual([len(path) for (path,) in self.said("path")], [512])

    def test_stop(self):
        """What waits is written before we go."""
        self.audit.startService()
        for _ in range(250):
            self.audit.note(Call(), 201)
        self.audit.stopService()
        self.assertEqual(len(self.said("status")), 250)
        self.assertEqual(self.registry.get_sample_value("stor_audit_lines_total"), 250)
        self.assertEqual(self.clock.getDelayedCalls(), [])
