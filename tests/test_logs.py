"""Log lines: flat, bounded, one an event; and secrets taken out of texts."""

import io
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from stor.logs import LINE_BYTES, observer, redact, stamp

plain = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats() | st.text()


class Case(SynchronousTestCase):
    def lines(self, form: str, emit, level: str = "info") -> list[str]:
        stream = io.StringIO()
        emit(Logger("it", observer=observer(stream, form, level)))
        return stream.getvalue().removesuffix("\n").split("\n")


class JsonTests(Case):
    def test_flat(self) -> None:
        """Time, level, the formatted text, and the fields of the call; what is no plain value stays out."""
        (line,) = self.lines("json", lambda log: log.info("{n} in", n=3, ok=True, where=None, thing=object()))
        fields = json.loads(line)
        self.assertRegex(fields.pop("ts"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(fields, {"level": "info", "event": "3 in", "n": 3, "ok": True, "where": None})

    def test_traceback(self) -> None:
        """A failure is one field of the one line."""

        def emit(log: Logger) -> None:
            try:
                _ = 1 / 0
            except ZeroDivisionError:
                log.failure("it broke")

        (line,) = self.lines("json", emit)
        self.assertIn("ZeroDivisionError: division", json.loads(line)["traceback"])

    def test_level(self) -> None:
        """What is below the level is not written."""

        def emit(log: Logger) -> None:
            for level in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error):
                log.emit(level, "said")

        self.assertEqual(len(self.lines("json", emit, "warn")), 2)

    @given(st.text(max_size=50), st.dictionaries(st.text("abcdefgh_", min_size=1), plain, max_size=40))
    def test_any_values(self, text: str, values: dict) -> None:
        """Whatever the values, a line is strict JSON on one line."""
        (line,) = self.lines("json", lambda log: log.emit(LogLevel.info, "{text}", text=text, **values))
        fields = json.loads(line, parse_constant=self.fail)
        self.assertEqual(fields["event"], text.encode(errors="replace").decode())

    def test_bounded(self) -> None:
        """Long and many values are cut, and what is left still says when, how bad and what."""
        for word in ("x", "\0", "é", "\U0001f600"):
            many = {f"field{n}": word * 100_000 for n in range(100)}
            (line,) = self.lines("json", lambda log, many=many, word=word: log.error(word * 100_000, **many))
            self.assertLessEqual(len(line.encode()) + 1, LINE_BYTES)
            self.assertEqual(json.loads(line)["level"], "error")

    def test_end_of_traceback(self) -> None:
        """Of a long traceback the end is kept, where the error is."""
        failure = Failure(ValueError("x" * 50_000 + "the end"))
        (line,) = self.lines("json", lambda log: log.failure("it broke", failure))
        self.assertTrue(json.loads(line)["traceback"].rstrip().endswith("the end"))


class BatchTests(Case):
    def test_lines(self) -> None:
        """An event that brings lines is all of them: JSON each, or text each, with control characters escaped."""
        told = [{"ts": stamp(0), "level": "info", "event": f"GET /{n}\x1b", "status": 200} for n in range(3)]
        shown = self.lines("json", lambda log: log.info("3 answers", lines=told))
        self.assertEqual([json.loads(line) for line in shown], told)
        shown = self.lines("text", lambda log: log.info("3 answers", lines=told))
        self.assertEqual(shown[2], "00:00:00.000 info     GET /2\\x1b status=200")


class TextTests(Case):
    def test_line(self) -> None:
        """For people: time, level, event, fields."""
        (line,) = self.lines("text", lambda log: log.warn("it is late", seconds=3))
        self.assertRegex(line, r"^\d\d:\d\d:\d\d\.\d{3} warn     it is late seconds=3$")

    def test_no_forged_lines(self) -> None:
        """A newline or an escape sequence in a value writes no line and no colour."""
        lines = self.lines("text", lambda log: log.info("{name}", name="a\nb\x1b[31mc\u2028d"))
        self.assertEqual(len(lines), 1)
        self.assertIn(r"a\nb\x1b[31mc\u2028d", lines[0])

    def test_auto(self) -> None:
        """Text on a terminal, JSON elsewhere."""
        (line,) = self.lines("auto", lambda log: log.info("x"))
        self.assertEqual(json.loads(line)["event"], "x")
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        Logger("it", observer=observer(terminal, "auto", "info")).info("x")
        self.assertNotIn("{", terminal.getvalue())


class RedactTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A secret is taken out plain and percent-encoded, the longest first."""
        text = redact("p@ss/word p%40ss%2Fword p@ss", ["p@ss", "p@ss/word", ""])
        self.assertEqual(text, "*** *** ***")

    def test_urls(self) -> None:
        """A password inside a URL goes though nobody named it, even one that was not encoded."""
        for url in (
            "redis://u:hunter2@h:1/0",
            "redis://:hunter2@h",
            "redis://u:hun/ter2@h",
            "redis://u:hun@ter2@h",
        ):
            said = redact(f"cannot reach {url}, sorry", [])
            self.assertNotIn("ter2", said)
            self.assertIn("@h", said)
        two = redact("a://u:one@h b://u:two@h", [])
        self.assertEqual(two, "a://u:***@h b://u:***@h")

    @given(st.text(min_size=4), st.text(), st.text())
    def test_gone(self, secret: str, before: str, after: str) -> None:
        """Wherever it stands, it is gone."""
        try:
            encoded = quote(secret, safe="")
        except UnicodeEncodeError:  # lone surrogates have no encoded form
            return
        said = redact(before + secret + after + encoded, [secret])
        if "*" not in secret:
            self.assertNotIn(secret, said)
