"""RESP requests as values: what Redis 7 reads as a command, what it refuses, and in which words.

Pure. Every rule here is Redis's own (networking.c, sds.c, util.c of 7.0.15) and is held against a real
server by `tests/redis/test_differential.py`; contract section 3 lists the surprising ones.
"""

from __future__ import annotations

import re

LINE = 64 * 1024
"""Longest line, in bytes, that Redis waits for the end of (PROTO_INLINE_MAX_SIZE)."""

_LARGEST = 512 << 20  # proto-max-bulk-len, as it is unless configured
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_BLANK = b" \t\n\v\f\r"
_TOKEN_END = b" \n\r\t\0"
_ESCAPES = {ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t", ord("b"): b"\b", ord("a"): b"\a"}
_HEX = re.compile(rb"\\x[0-9a-fA-F]{2}")


class Short(Exception):
    """The rest of it has not come yet."""


class Malformed(Exception):
    """Redis would say this and close: `args[0]` is the whole error line without its line end."""

    def __init__(self, said: str | bytes) -> None:
        said = said.encode() if isinstance(said, str) else said
        super().__init__(b"-ERR Protocol error: " + said)


def integer(text: bytes) -> int | None:
    """Read a signed 64-bit integer as strictly as Redis's `string2ll`; None when it is none.

    Python's `int` takes `+1`, `01`, `1_0` and blanks: each of those would let the two sides disagree
    on where a frame ends.
    """
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None


def encode(args: list[bytes]) -> bytes:
    """Write a command as a multibulk frame."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


def command(data: bytes | bytearray, at: int = 0, *, most: int, largest: int) -> tuple[list[bytes], int]:
    """Read the command that begins at `at`: its words (none when there is nothing to do) and its end.

    `most` words of at most `largest` bytes each are allowed; beyond that it is Malformed in the words
    that Redis has for clients who have not logged in. Raises Short or Malformed.
    """
    if len(data) <= at:
        raise Short
    if data[at] != ord("*"):
        return _inline(data, at)
    count, at = _header(data, at, "mbulk count", "multibulk length")
    if count > 0x7FFFFFFF:
        raise Malformed("invalid multibulk length")
    if count > most:
        raise Malformed("unauthenticated multibulk length")
    words: list[bytes] = []
    for _ in range(count):
        size, at = _header(data, at, "bulk count", "bulk length")
        if size < 0 or size > max(largest, _LARGEST):
            raise Malformed("invalid bulk length")
        if size > largest:
            raise Malformed("unauthenticated bulk length")
        if len(data) < at + size + 2:
            raise Short
        words.append(bytes(data[at : at + size]))
        at += size + 2
    return words, at


def head(data: bytes | bytearray, at: int) -> tuple[int, bytes, int]:
    """Read how many words the multibulk at `at` announces, its first word, and where that word begins."""
    count, at = _header(data, at, "mbulk count", "multibulk length")
    if count <= 0:
        return count, b"", at
    size, at = _header(data, at, "bulk count", "bulk length")
    if len(data) < at + size:
        raise Short
    return count, bytes(data[at : at + size]), at


def _header(data: bytes | bytearray, at: int, too_big: str, invalid: str) -> tuple[int, int]:
    end = data.find(b"\r", at)
    nul = data.find(b"\0", at, end if end >= 0 else len(data))
    if end < 0 or nul >= 0:  # Redis looks for the end with strchr, which a NUL stops
        if len(data) - at > LINE:
            raise Malformed(f"too big {too_big} string")
        raise Short
    if len(data) < end + 2:
        raise Short
    if invalid == "bulk length" and data[at] != ord("$"):
        raise Malformed(_unexpected(data[at]))
    value = integer(bytes(data[at + 1 : end]))
    if value is None:
        raise Malformed(f"invalid {invalid}")
    return value, end + 2  # the byte after CR is not looked at


def _unexpected(byte: int) -> bytes:
    if byte == 0:  # printf ends the text there
        return b"expected '$', got '"
    shown = b" " if byte in b"\r\n" else bytes([byte])
    return b"expected '$', got '%b'" % shown


def _inline(data: bytes | bytearray, at: int) -> tuple[list[bytes], int]:
    end = data.find(b"\n", at)
    nul = data.find(b"\0", at, end if end >= 0 else len(data))
    if end < 0 or nul >= 0:
        if len(data) - at > LINE:
            raise Malformed("too big inline request")
        raise Short
    words = split(bytes(data[at:end]).removesuffix(b"\r"))
    if words is None:
        raise Malformed("unbalanced quotes in request")
    return words, end + 1


def split(line: bytes) -> list[bytes] | None:
    r"""Split an inline command as Redis's `sdssplitargs`: blanks, "…\x00…", '…'; None when unbalanced."""
    line += b"\0"  # the terminator that C code sees, and that ends every search here too
    words: list[bytes] = []
    at = 0
    while True:
        while line[at] in _BLANK:
            at += 1
        if line[at] == 0:
            return words
        word = bytearray()
        while line[at] not in _TOKEN_END:
            if line[at] in b"\"'":
                closed = _quoted(line, at, word)
                if closed is None:
                    return None
                at = closed
                break
            word.append(line[at])
            at += 1
        words.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int | None:
    """Read from the opening quote at `at` into `word`; where the text goes on, None when it never closes."""
    quote = line[at]
    at += 1
    while line[at] != 0:
        if line[at] == quote:  # and after it only a blank or the end
            return at + 1 if line[at + 1] == 0 or line[at + 1] in _BLANK else None
        if quote == ord('"') and _HEX.match(line, at):
            word.append(int(line[at + 2 : at + 4], 16))
            at += 4
        elif quote == ord('"') and line[at] == ord("\\") and line[at + 1] != 0:
            word += _ESCAPES.get(line[at + 1], line[at + 1 : at + 2])
            at += 2
        elif quote == ord("'") and line[at : at + 2] == b"\\'":
            word += b"'"
            at += 2
        else:
            word.append(line[at])
            at += 1
    return None
