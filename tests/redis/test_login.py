"""What strangers are told, and how credentials are replaced in a stream."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.redis.framer import Framer
from stor.redis.lane import new_framer
from stor.redis.login import (
    NOAUTH,
    Admit,
    Close,
    Credential,
    Refused,
    Rewriter,
    Say,
    answer,
    impossible,
    replaced,
    without_logins,
)
from stor.redis.resp import Short, command, encode

REAL = Credential(b"stor", b"the real secret")
SECRET = REAL.password


def grant(name, password):
    return REAL if (name or b"default", password) == (b"default", b"ours") else None


def change(words):
    return replaced(words, grant, knows_hello=True)


def rewritten(wire, cuts=()):
    """Send `wire` in pieces; all that came out, and what is still held."""
    rewriter = Rewriter(new_framer(), change, 1 << 20)
    edges = [0, *sorted(cuts), len(wire)]
    out = b"".join(rewriter.feed(wire[a:b]) for a, b in pairwise(edges))
    return out, rewriter.held


def commands(wire):
    found, at = [], 0
    while True:
        try:
            words, at = command(wire, at, most=1000, largest=1 << 30)
        except Short:
            return found
        found.append(words)


class AnswerTests(SynchronousTestCase):
    def test_strangers(self):
        """Each command gets Redis's own line, and only a login gets further."""
        for line, verdict in [
            (b"GET k", Say(NOAUTH)),
            (b"COMMAND DOCS", Say(NOAUTH)),
            (b"quit", Close(b"+OK\r\n")),
            (b"reset", Say(b"+RESET\r\n")),
            (b"POST / HTTP/1.1", Close()),
            (b"Host: x", Close()),
            (b"AUTH", Say(b"-ERR wrong number of arguments for 'auth' command\r\n")),
            (b"AUTH a b c", Say(b"-ERR syntax error\r\n")),
            (b"HELLO 4", Say(b"-NOPROTO unsupported protocol version\r\n")),
            (b"HELLO 03", Say(b"-ERR Protocol version is not an integer or out of range\r\n")),
            (b"HELLO AUTH default ours", Say(b"-ERR Protocol version is not an integer or out of range\r\n")),
            (b"HELLO 3 AUTH default", Say(b"-ERR Syntax error in HELLO option 'AUTH'\r\n")),
            (b"HELLO 3 NAME x", Say(b"-ERR Syntax error in HELLO option 'NAME'\r\n")),
        ]:
            self.assertEqual(answer(line.split()), verdict, line)

    def test_hello_without_login_is_told_how(self):
        """Redis's long line for HELLO, with and without a version."""
        for words in ([b"hello"], [b"HELLO", b"3"], [b"HELLO", b"2", b"SETNAME", b"x"]):
            verdict = answer(words)
            self.assertTrue(isinstance(verdict, Say) and verdict.line.startswith(b"-NOAUTH HELLO must be called"))

    def test_logins(self):
        """AUTH in both forms, HELLO with its options in any order: name and password are found."""
        for line, name, password in [
            (b"AUTH p", b"", b"p"),
            (b"auth u p", b"u", b"p"),
            (b"HELLO 3 AUTH u p", b"u", b"p"),
            (b"hello 2 setname AUTH auth u p", b"u", b"p"),
        ]:
            self.assertEqual(answer(line.split()), Admit([(name, password)], line.split()), line)

    def test_client_name(self):
        """A name that Redis would refuse is refused before anything is dialled."""
        verdict = answer([b"HELLO", b"3", b"SETNAME", b"a b", b"AUTH", b"default", b"ours"])
        self.assertEqual(verdict, Say(b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n"))


class ReplacedTests(SynchronousTestCase):
    def test_right_passwords_become_the_upstreams(self):
        """All forms carry the real credential, and everything else in them is kept."""
        for line, expected in [
            (b"AUTH ours", b"AUTH stor S"),
            (b"auth default ours", b"AUTH stor S"),
            (b"HELLO 3 AUTH default ours", b"HELLO 3 AUTH stor S"),
            (b"hello 2 SETNAME AUTH AUTH default ours", b"hello 2 SETNAME AUTH AUTH stor S"),
        ]:
            expected_words = [SECRET if word == b"S" else word for word in expected.split()]
            self.assertEqual(replaced(line.split(), grant, knows_hello=True), expected_words, line)

    def test_wrong_passwords_become_impossible_ones(self):
        """A wrong password goes upstream as one that nobody can have, and not as it was."""
        for line in (b"AUTH wrong", b"AUTH default wrong", b"AUTH other ours", b"HELLO 3 AUTH default wrong"):
            words = replaced(line.split(), grant, knows_hello=True)
            self.assertNotIn(SECRET, words)
            self.assertNotIn(b"wrong", words)
            self.assertNotEqual(words[-2:], replaced(line.split(), grant, knows_hello=True)[-2:])

    def test_each_pair_for_itself(self):
        """Of two pairs in one HELLO each is judged, and after a wrong one none is right."""
        words = replaced(b"HELLO 3 AUTH default ours AUTH default wrong".split(), grant, knows_hello=True)
        self.assertEqual(words[3:5], [b"stor", SECRET])
        self.assertNotIn(SECRET, words[5:])

    def test_not_where_it_would_be_shown(self):
        """A HELLO that the server refuses before it hides its words, or does not know, gets no real credential."""
        for line, knows_hello in [
            (b"HELLO 4 AUTH default ours", True),
            (b"HELLO x AUTH default ours", True),
            (b"HELLO 3 AUTH default wrong AUTH default ours", True),
            (b"HELLO 3 AUTH default ours", False),
        ]:
            self.assertNotIn(SECRET, replaced(line.split(), grant, knows_hello=knows_hello), line)

    def test_hello_without_its_login(self):
        """What is sent behind our own AUTH is the client's HELLO with every pair left out."""
        for line, left in [
            (b"HELLO 3 AUTH a b", b"HELLO 3"),
            (b"hello 2 SETNAME AUTH AUTH a b SETNAME z auth c d", b"hello 2 SETNAME AUTH SETNAME z"),
        ]:
            self.assertEqual(without_logins(line.split()), left.split())

    def test_nothing_to_replace(self):
        """Commands without a credential, and AUTH with a wrong number of words, stay as they are."""
        for line in (
            b"AUTH",
            b"AUTH a b c",
            b"HELLO",
            b"HELLO 3",
            b"HELLO 3 SETNAME x",
            b"GET AUTH",
            b"HELLO 3 AUTH x",
        ):
            self.assertIsNone(replaced(line.split(), grant, knows_hello=True), line)

    def test_forms_for_old_and_open_servers(self):
        """Without a user name the one-word AUTH; without a password one that a free-for-all user takes."""
        self.assertEqual(Credential(b"", b"p").auth(), [b"AUTH", b"p"])
        self.assertEqual(Credential(b"", b"").auth()[:2], [b"AUTH", b"default"])
        self.assertEqual(Credential(b"", b"p").pair(), [b"default", b"p"])

    def test_secrets_do_not_show(self):
        """A credential says nothing of itself."""
        self.assertNotIn("secret", repr(REAL))
        self.assertNotEqual(impossible(), impossible())


class RewriterTests(SynchronousTestCase):
    payload = encode([b"AUTH", b"ours"])
    wire = (
        encode([b"SET", b"k", payload * 2])
        + encode([b"AUTH", b"ours"])
        + encode([b"MULTI"])
        + encode([b"hello", b"3", b"SETNAME", b"AUTH", b"auth", b"default", b"ours"])
        + b'set "k" \'AUTH ours\'\r\nauth "ou\\x72s"\n'
        + encode([b"RESET"])
        + encode([b"ECHO", b""])
    )

    def test_every_cut(self):
        """Cut at every byte, the stream comes out the same; payloads that look like a login are payloads."""
        expected, held = rewritten(self.wire)
        self.assertEqual(held, b"")
        found = commands(expected)
        self.assertEqual(found[0], [b"SET", b"k", self.payload * 2])
        self.assertEqual(found[1], [b"AUTH", b"stor", SECRET])
        self.assertEqual(found[3][-3:], [b"auth", b"stor", SECRET])
        self.assertEqual(found[4:6], [[b"set", b"k", b"AUTH ours"], [b"AUTH", b"stor", SECRET]])
        for cut in range(len(self.wire)):
            self.assertEqual(rewritten(self.wire, [cut]), (expected, b""), cut)

    @given(st.lists(st.integers(0, len(wire)), max_size=12))
    def test_any_cuts(self, cuts):
        """Cut anywhere any number of times, the stream comes out the same."""
        self.assertEqual(rewritten(self.wire, cuts), rewritten(self.wire))

    @given(
        st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=5), max_size=8),
        st.lists(st.integers(0, 300)),
    )
    def test_the_rest_is_untouched(self, sent, cuts):
        """Requests without a login pass byte for byte."""
        sent = [words for words in sent if words[0].upper() not in (b"AUTH", b"HELLO")]
        wire = b"".join(map(encode, sent))
        self.assertEqual(rewritten(wire, [min(cut, len(wire)) for cut in cuts]), (wire, b""))

    @given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
    def test_never_in_a_payload(self, noise, cuts):
        """Whatever comes before, the secret is written only where Redis reads an AUTH or HELLO of its own."""
        wire = noise + encode([b"AUTH", b"ours"])
        out, _ = rewritten(wire, [min(cut, len(wire)) for cut in cuts])
        if SECRET in out:
            before = out[: out.index(encode([b"AUTH", b"stor", SECRET]))]
            framer = Framer()
            at = 0
            while at < len(before):  # what Redis makes of it: whole commands up to here
                at = framer.scan(before, at, len(before))
                if at < len(before):
                    _, at = command(before, at, most=1 << 31, largest=1 << 62)
            self.assertTrue(framer.between and not framer.opaque)

    def test_disguises(self):
        """A login command with a NUL behind its name is refused: some servers would take it for one."""
        for wire in (encode([b"AUTH\x00131", b"a", b"b"]), encode([b"Hello\0"]), b'"auth\\x00x" a b\r\n'):
            self.assertRaises(Refused, Rewriter(new_framer(), change, 1 << 20).feed, wire)
        self.assertEqual(rewritten(encode([b"GET\0", b"k"])), (encode([b"GET\0", b"k"]), b""))

    def test_the_lua_debugger(self):
        """After SCRIPT DEBUG requests are read by other rules, so nothing is rewritten; other SCRIPTs just pass."""
        for debug in (
            encode([b"script", b"Debug", b"yes"]),
            encode([b"SCRIPT", b"DEBUG\0", b"YES"]),
            b"script debug sync\r\n",
        ):
            wire = debug + encode([b"AUTH", b"ours"])
            self.assertEqual(rewritten(wire), (wire, b""))
        load = encode([b"SCRIPT", b"LOAD", b"x" * (3 << 20)])
        self.assertEqual(rewritten(load, [9, 20, 30, 90_000])[0], load)
        self.assertIn(SECRET, rewritten(load + encode([b"AUTH", b"ours"]))[0])

    def test_two_readings(self):
        """Headers that end in another way than CRLF are read differently by different servers: nothing more is read."""
        for seam in (b"*1\rX$4\r\nPING\r\n", b"*1\r\n$4\r\rPING\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500\r\r\r\n"):
            wire = seam + encode([b"AUTH", b"ours"])
            self.assertEqual(rewritten(wire), (wire, b""), seam)

    def test_nothings_become_one(self):
        """Empty lines and frames, which no server answers, go upstream as one empty frame."""
        self.assertEqual(
            rewritten(b"\r\n*0\r\n \t\n*-5\r\n" + encode([b"PING"]) + b"\n"),
            (b"*0\r\n" + encode([b"PING"]) + b"*0\r\n", b""),
        )

    def test_held_is_bounded(self):
        """A login command of more than a mebibyte is not held: the client is cut off."""
        rewriter = Rewriter(new_framer(), change, 1 << 20)
        rewriter.feed(b"*2\r\n$4\r\nAUTH\r\n$9999999\r\n")
        self.assertRaises(Refused, lambda: [rewriter.feed(b"x" * 65536) for _ in range(18)])

    def test_endless_lines_pass(self):
        """Past the 64 KiB at which Redis gives up, an unfinished line is Redis's to refuse."""
        for begin in (b"x", b"*", b"*1\r\n$", b"AUTH \0"):
            rewriter = Rewriter(new_framer(), change, 1 << 20)
            wire = begin + b"1" * 70_000
            self.assertEqual(b"".join(rewriter.feed(wire[at : at + 5000]) for at in range(0, len(wire), 5000)), wire)
            self.assertTrue(rewriter.framer.opaque)
