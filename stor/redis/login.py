"""Who may come in and what is said to who may not; and our credential put in the place of the client's.

Pure. Before login `answer` says what Redis would say to a stranger, so that nothing is dialled for one.
After login `Rewriter` lets the request stream pass byte for byte, except that every AUTH, and every AUTH
pair in a HELLO, is replaced: by the upstream's credential when the client's was right, by one that cannot
match when it was not. The answers always come from upstream (contract section 2).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from stor.redis.framer import NAMES, Framer
from stor.redis.resp import LINE, Malformed, Short, command, encode, head, integer

WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
NOAUTH = b"-NOAUTH Authentication required.\r\n"
_HELLO_NOAUTH = (
    b"-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
    b"<user> <pass> option can be used to authenticate the client and select the RESP protocol version "
    b"at the same time\r\n"
)


@dataclass(frozen=True)
class Credential:
    """A user name (may be empty) and a password (may be empty: the upstream asks for none)."""

    username: bytes
    password: bytes

    def __repr__(self) -> str:
        """Say nothing of what is inside."""
        return "Credential(***)"

    def __bool__(self) -> bool:
        """Tell whether there is anything to prove."""
        return bool(self.username or self.password)

    def pair(self) -> list[bytes]:
        """Give name and password for the two-word form; a user without a password takes any."""
        return [self.username or b"default", self.password or secrets.token_hex(16).encode()]

    def auth(self) -> list[bytes]:
        """Give the AUTH command: the one-word form for a server from before there were users."""
        if self.password and not self.username:
            return [b"AUTH", self.password]
        return [b"AUTH", *self.pair()]


Grant = Callable[[bytes, bytes], Credential | None]
"""From the name and password that a client gave to the credential it may use, None when they are wrong."""

Change = Callable[[list[bytes]], list[bytes] | None]
"""From the words of an AUTH, a HELLO or an inline command to those sent instead, None for the very same."""


@dataclass(frozen=True)
class Say:
    """Answer this and go on listening."""

    line: bytes


@dataclass(frozen=True)
class Close:
    """Answer this (nothing, perhaps) and close."""

    line: bytes = b""


@dataclass(frozen=True)
class Admit:
    """The names and passwords to judge, all of which must be right; `words` is the command that carried them."""

    pairs: list[tuple[bytes, bytes]]
    words: list[bytes]


def answer(words: list[bytes]) -> Say | Close | Admit:  # noqa: PLR0911 - one return for each thing Redis says
    """Say what a stranger's command gets (contract section 4)."""
    name = words[0].upper()
    if _text(name) in (b"HOST:", b"POST"):  # a browser or a server-side request made to send HTTP
        return Close()
    if name == b"QUIT":
        return Close(b"+OK\r\n")
    if name == b"RESET" and len(words) == 1:
        return Say(b"+RESET\r\n")
    if name == b"HELLO":
        return _hello(words)
    if name == b"EXEC" and len(words) == 1:
        return Say(b"-EXECABORT Transaction discarded because of: " + NOAUTH[1:])
    if name != b"AUTH":
        return Say(NOAUTH)
    if len(words) == 1:
        return Say(b"-ERR wrong number of arguments for 'auth' command\r\n")
    if len(words) > 3:
        return Say(b"-ERR syntax error\r\n")
    return Admit([(words[1] if len(words) == 3 else b"", words[-1])], words)


def _hello(words: list[bytes]) -> Say | Admit:
    if len(words) > 1:
        version = integer(words[1])
        if version is None:
            return Say(b"-ERR Protocol version is not an integer or out of range\r\n")
        if version not in (2, 3):
            return Say(b"-NOPROTO unsupported protocol version\r\n")
    pairs, at = _hello_options(words)
    if at < len(words):
        option = _text(words[at])
        if option.upper() == b"SETNAME" and at + 1 < len(words):
            return Say(b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n")
        shown = option.replace(b"\r", b" ").replace(b"\n", b" ")
        return Say(b"-ERR Syntax error in HELLO option '%b'\r\n" % shown)
    if not pairs:
        return Say(_HELLO_NOAUTH)
    return Admit([(words[at], words[at + 1]) for at in pairs], words)


def _hello_options(words: list[bytes]) -> tuple[list[int], int]:
    """Find where the AUTH pairs of a HELLO stand, and where its options stop making sense (or its end)."""
    pairs: list[int] = []
    at = 2
    while at < len(words):
        option = _text(words[at]).upper()
        if option == b"AUTH" and at + 2 < len(words):
            pairs.append(at + 1)
            at += 3
        elif option == b"SETNAME" and at + 1 < len(words) and all(0x21 <= c <= 0x7E for c in words[at + 1]):
            at += 2
        else:
            break
    return pairs, at


def _text(word: bytes) -> bytes:
    """Give the part of a word that C's strcasecmp sees."""
    return word.split(b"\0", 1)[0]


def impossible() -> Credential:
    """Make a credential that no upstream can know: 128 random bits for the name, and for the password."""
    return Credential(secrets.token_hex(16).encode(), secrets.token_hex(16).encode())


def replaced(words: list[bytes], grant: Grant, *, knows_hello: bool) -> list[bytes] | None:
    """Give the command with every credential in it replaced; None when it holds none.

    A HELLO that the server would refuse for another reason gets no real credential: a server shows the
    words of what it refuses, in errors, in MONITOR and in its slow log. So `knows_hello` says whether the
    server has the command at all, and after the first wrong pair, where Redis stops reading, none is right.
    """
    name = words[0].upper() if words else b""
    if name == b"AUTH" and len(words) in {2, 3}:
        asked = words[1] if len(words) == 3 else b""
        return (grant(asked, words[-1]) or impossible()).auth()
    if name == b"HELLO":
        pairs, _ = _hello_options(words)
        changed = list(words)
        stands = knows_hello and len(words) > 1 and words[1] in {b"2", b"3"}
        for at in pairs:
            credential = grant(words[at], words[at + 1]) if stands else None
            stands = credential is not None
            changed[at : at + 2] = (credential or impossible()).pair()
        return changed if pairs else None
    return None


def without_logins(words: list[bytes]) -> list[bytes]:
    """Give a HELLO without its AUTH pairs."""
    pairs, _ = _hello_options(words)
    dropped = {at + step for at in pairs for step in (-1, 0, 1)}
    return [word for at, word in enumerate(words) if at not in dropped]


class Refused(Exception):
    """A client does what no client does for good: it is to be cut off, for the reason given."""


_NOTHING = re.compile(rb"(?:[ \t]*\r?\n|\*(?:0|-[1-9][0-9]{0,17})\r\n)+")
_PLAIN_LINES = re.compile(rb"(?:(?!auth|hello|script)[a-z0-9][^\"'\0\n]*\n)+", re.IGNORECASE)
_EMPTY = b"*0\r\n"
_MOST_WORDS = 16  # of a HELLO; Redis knows options for eight


class Rewriter:
    """A request stream on its way upstream, with the credentials in it replaced.

    Empty lines and empty frames, however many, become one empty frame: Redis takes both alike (they use up a
    CLIENT REPLY SKIP), but there are servers that read what follows an empty line in another way.
    """

    __slots__ = ("_change", "_most", "framer", "held")

    def __init__(self, framer: Framer, change: Change, most: int) -> None:
        """`most`: the largest AUTH or HELLO, in bytes, that is held to be read (and at least a LINE is)."""
        self.framer, self._change, self._most = framer, change, max(most, LINE)
        self.held = b""
        """What came but cannot be judged before more comes."""

    @property
    def between(self) -> bool:
        """Whether all that came has been passed on, up to the end of a frame."""
        return not self.held and self.framer.between

    def feed(self, data: bytes) -> bytes:
        """Take what came; give what may pass. Raises Refused when the client is to be cut off."""
        data = self.held + data
        passed: list[bytes] = []
        at, stop = 0, len(data)
        while at < stop:
            clean = self.framer.scan(data, at, stop)
            passed.append(data[at:clean])
            at = clean
            if at == stop or not self.framer.between:
                break
            try:
                said, at = self._read(data, at)
            except Short:
                break
            except Malformed:  # Redis will say so itself, and close
                self.framer.opaque = True
            else:
                passed.append(said)
        self.held = data[at:]
        if len(self.held) > self._most:
            raise Refused("a login command that is too long")
        return b"".join(passed)

    def _read(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Read what the framer stopped at: what is to be sent for it, and where it ends."""
        nothing = _NOTHING.match(data, at)
        if nothing:
            return _EMPTY, nothing.end()
        plain = _PLAIN_LINES.match(data, at)
        if plain:
            return plain[0], plain.end()
        if data[at] == ord("*"):
            count, name, text_at = head(data, at)
            if _passes(count, name, data, text_at):
                self.framer.args, self.framer.skip = count - 1, len(name) + 2
                return data[at:text_at], text_at
        words, end = command(data, at, most=0x7FFFFFFF, largest=512 << 20)
        if not words:
            return _EMPTY, end
        _no_disguise(words[0])
        if words[0].upper() == b"SCRIPT" and len(words) > 1 and _text(words[1]).upper() == b"DEBUG":
            self.framer.opaque = True  # the Lua debugger reads what follows by rules of its own
        changed = self._change(words)
        return (data[at:end] if changed is None else encode(changed)), end


def _no_disguise(name: bytes) -> None:
    r"""Refuse `AUTH\0…`: some servers find commands by C's strcasecmp, and might take it for AUTH."""
    if b"\0" in name and _text(name).upper() in NAMES:
        raise Refused("a command with a NUL in its name")


def _passes(count: int, name: bytes, data: bytes, text_at: int) -> bool:
    """Tell whether the frame need not be read to its end after all."""
    _no_disguise(name)
    kind = name.upper()
    if b"\0" in name:
        return True
    if kind == b"SCRIPT" and count > 1:
        _, second, _ = head(b"*1\r\n" + data[text_at + len(name) + 2 : text_at + len(name) + LINE], 0)
        return _text(second).upper() != b"DEBUG"
    if kind == b"HELLO" and count > _MOST_WORDS:
        raise Refused("a HELLO of too many words")
    return kind == b"AUTH" and count > 3  # an error, whatever it holds
