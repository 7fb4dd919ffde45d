"""The same bytes, cut at random, straight to a Redis and through the proxy: the replies are the same bytes.

Two redis-servers run the same history, one reached directly and logged in as the mapped user, one through
the proxy. Every stream ends with the client's half-close, so both are read to their end: nothing missing,
nothing added, nothing late. Replies stay small: at a half-close Redis drops what it could not yet write.
STOR_FUZZ_STREAMS sets how many streams (default 20,000), STOR_FUZZ_SEED which.
"""

import os
import random
import re
import socket
import threading
import time
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from stor.redis.resp import encode
from tests.proxies import ACL, PASSWORD, SECRET, USER, StorServer, line, to_the_end
from tests.servers import RedisServer

STREAMS = int(os.environ.get("STOR_FUZZ_STREAMS", "20000"))
SEED = int(os.environ.get("STOR_FUZZ_SEED", "20261121"))
GENEROUS = "[redis.limits]\nfailures = 1000000000\nconnections_per_address = 10000"

KEYS = [b"a", b"b", b"c", b"list", b"h", b"auth", b"*2"]
PLAIN = [
    lambda r: [b"SET", r.choice(KEYS), value(r)],
    lambda r: [b"get", r.choice(KEYS)],
    lambda r: [b"DEL", r.choice(KEYS), r.choice(KEYS)],
    lambda r: [b"INCR", b"n"],
    lambda r: [b"RPUSH", b"list", value(r)],
    lambda r: [b"LRANGE", b"list", b"0", b"5"],
    lambda r: [b"HSET", b"h", b"f", value(r)],
    lambda r: [b"HGETALL", b"h"],
    lambda r: [b"ECHO", value(r)],
    lambda r: [b"SET", b"big", r.randbytes(70_000)],
    lambda r: [b"PING"],
    lambda r: [b"SELECT", r.choice([b"0", b"1", b"99"])],
    lambda r: [b"NOSUCHCOMMAND", b"AUTH"],
    lambda r: [b"GET"],
    lambda r: [b"MGET", *(r.choice(KEYS) for _ in range(r.randrange(1, 6)))],
    lambda r: [b"SUBSCRIBE", b"ch"],
    lambda r: [b"UNSUBSCRIBE"],
    lambda r: [b"EVAL", b"return redis.call('set', KEYS[1], ARGV[1])", b"1", b"a", b"AUTH x"],
]
STATE = [
    [b"MULTI"],
    [b"EXEC"],
    [b"DISCARD"],
    [b"WATCH", b"a"],
    [b"RESET"],
    [b"CLIENT", b"REPLY", b"OFF"],
    [b"CLIENT", b"REPLY", b"SKIP"],
    [b"CLIENT", b"REPLY", b"ON"],
    [b"CLIENT", b"SETNAME", b"AUTH"],
    [b"CLIENT", b"GETNAME"],
    [b"QUIT"],
]
BROKEN = [
    b"*+1\r\n$4\r\nPING\r\n",
    b"* 1\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*1\r\n$0_4\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*2\r\n$4\r\nECHO\r\n:1\r\n",
    b"*2147483648\r\n",
    b"*1\r\n$9999999999\r\n",
    b"'unbalanced\r\n",
    b'ECHO "a"b\r\n',
    b"*1\0\r\n$4\r\nPING\r\n",
    b"PI\0NG\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"*3\r\n$4\r\nAUTH\r\n$-7\r\n",
    b"*2\r\n$4\r\nAUTH\r\n$3\r\nab",
    b"*3\r\n$3\r\nSET\r\n$1\r\n",
    b"*2\r\n$4\r\nAUTH\r\nx$3\r\nabc\r\n",
]
EMPTY = [b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"\r\n", b"\n", b"  \t \r\n"]


def value(r):
    kind = r.randrange(8)
    if kind == 0:
        return encode([b"AUTH", PASSWORD.encode()])
    if kind == 1:
        return encode([b"HELLO", b"3", b"AUTH", b"default", PASSWORD.encode()])
    if kind == 2:
        return r.randbytes(r.choice([0, 1, 5, 500]))
    return r.choice([b"x", b"\r\n", b"*", b"$4\r\nAUTH", b"12", b"AUTH"])


def login(r):
    """A login command as the client of the proxy sends it, and as it is sent directly."""
    right = r.random() < 0.6
    ours = PASSWORD.encode() if right else b"wrong"
    name, real = (USER.encode(), SECRET.encode()) if right else (b"nobody", b"wrong")
    kind = r.randrange(6)
    if kind == 0:
        return [r.choice([b"AUTH", b"auth", b"Auth"]), ours], [b"AUTH", name, real]
    if kind == 1:
        return [b"AUTH", r.choice([b"default", b""]), ours], [b"AUTH", name, real]
    if kind == 2:
        version = r.choice([b"2", b"3"])
        return [b"HELLO", version, b"AUTH", b"default", ours], [b"HELLO", version, b"AUTH", name, real]
    if kind == 3:
        rest = [b"hello", b"2", b"setname", b"AUTH", b"auth"]
        return [*rest, b"default", ours, b"SETNAME", b"z"], [*rest, name, real, b"SETNAME", b"z"]
    alike = r.choice(
        [
            [b"AUTH"],
            [b"AUTH", b"a", b"b", b"c"],
            [b"HELLO"],
            [b"HELLO", b"4"],
            [b"HELLO", b"3", b"NAME", b"x"],
            [b"HELLO", b"03"],
            [b"HELLO", b"3", b"SETNAME", b"a b"],
            [b"HELLO", b"3", b"AUTH", b"default"],
        ]
    )
    return alike, alike


def inline(words):
    """Write a command as a line, quoted where it must be."""
    quoted = [b'"' + b"".join(b"\\x%02x" % byte for byte in word) + b'"' for word in words]
    bare = [word if re.fullmatch(rb"[A-Za-z0-9-]+", word) else safe for word, safe in zip(words, quoted, strict=True)]
    return b" ".join(bare)


def written(r, words, direct):
    """Both sides of a command, in the same way of writing."""
    how = r.random()
    if how < 0.85 or sum(map(len, words)) > 1000:
        return encode(words), encode(direct)
    end = r.choice([b"\r\n", b"\n"])
    return inline(words) + end, inline(direct) + end


def stream(r):
    """A whole stream: as sent through the proxy, and as sent directly."""
    through, direct = [], []
    for _ in range(r.randrange(1, 12)):
        kind = r.random()
        if kind < 0.6:
            words = r.choice(PLAIN)(r)
            pair = written(r, words, words)
        elif kind < 0.75:
            words = r.choice(STATE)
            pair = written(r, words, words)
        elif kind < 0.93:
            pair = written(r, *login(r))
        elif kind < 0.98:
            empty = r.choice(EMPTY)
            pair = empty, empty
        else:
            broken = r.choice(BROKEN)
            pair = broken, broken
        through.append(pair[0])
        direct.append(pair[1])
        if pair[0] in BROKEN:  # what follows would be read out of step, and the two sides write logins differently
            break
    return b"".join(through), b"".join(direct)


def talk(port, hello, wire, cuts):
    """Log in, send `wire` in pieces, end; all that came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(hello)
        if hello:
            assert line(client) == b"+OK\r\n"
        edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
        try:
            for start, stop in pairwise(edges):
                if start < stop:
                    client.sendall(wire[start:stop])
            client.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass  # it has closed already: what it said before is still to be read
        return to_the_end(client)


def without_ids(reply):
    """Client ids differ between two servers; everything else must not."""
    return re.sub(rb"(\$2\r\nid\r\n:)\d+", rb"\1N", reply)


def same(said, heard, wire):
    """Compare replies. After HTTP Redis drops what it had not yet sent, which depends on its reads."""
    if b"POST / HTTP" in wire:
        return said.startswith(heard) or heard.startswith(said)
    return said == heard


def cuts(r):
    return [r.randrange(0, r.choice([30, 300, 5000])) for _ in range(r.choice([0, 1, 3]))]


class Differential(SynchronousTestCase):
    """Each worker has a pair of servers and a proxy of its own, so that histories stay in step."""

    def fuzz(self, streams, seed, servers, hello, make):
        failures = []

        def work(number):
            r = random.Random(seed + number)
            with servers() as (direct_port, proxy_port):
                for count in range(streams // 2):
                    through, direct = make(r)
                    at = cuts(r)
                    said = without_ids(talk(direct_port, hello[0], direct, at))
                    heard = without_ids(talk(proxy_port, hello[1], through, at))
                    if not same(said, heard, through) and not failures:
                        failures.append((seed, number, count, through, at, said, heard))
                    if failures:
                        return

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([describe(*failure) for failure in failures], [])
        return time.monotonic() - began

    def test_after_login(self):
        """Pipelines, MULTI, RESET, REPLY OFF, inline and broken frames, and logins of all kinds."""
        hello = f"AUTH {USER} {SECRET}\r\n".encode(), f"AUTH {PASSWORD}\r\n".encode()
        self.fuzz(STREAMS, SEED, logged_in, hello, stream)

    def test_before_login(self):
        """What a stranger sends, up to a login with pipelined commands behind it."""
        self.fuzz(STREAMS // 10, SEED + 100, strangers, (b"", b""), strange)


def describe(seed, number, count, wire, at, said, heard):
    """Say where two replies part, and how to see it again."""
    where = next((i for i, (a, b) in enumerate(zip(said, heard, strict=False)) if a != b), min(len(said), len(heard)))
    near = slice(max(0, where - 60), where + 60)
    again = f"STOR_FUZZ_SEED={seed}, worker {number}, stream {count}, cuts {at}"
    return f"{again}: {wire[:2000]!r}\n{len(said)} direct {said[near]!r}\n{len(heard)} through {heard[near]!r}"


def strange(r):
    """A stranger's stream: known commands of the right arity, logins, broken frames; the same for both."""
    known = [
        [b"GET", b"k"],
        [b"PING"],
        [b"COMMAND", b"COUNT"],
        [b"MULTI"],
        [b"EXEC"],
        [b"RESET"],
        [b"HELLO"],
        [b"HELLO", b"3"],
    ]
    known += [[b"CLIENT", b"REPLY", b"OFF"], [b"SET", b"k", b"x" * 16384], [b"SUBSCRIBE", b"c"]]
    odd = [
        *BROKEN,
        b"*11\r\n",
        b"*1\r\n$16385\r\n",
        b"*10\r\n" + b"$1\r\nx\r\n" * 2,
        b"x" * 70_000,
        b"*" * 70_000,
    ]
    pieces = []
    for _ in range(r.randrange(1, 8)):
        kind = r.random()
        if kind < 0.5:
            pieces.append(written(r, *[r.choice(known)] * 2)[0])
        elif kind < 0.75:
            words = [word or b"default" for word in login(r)[0]]  # the empty name is ours to accept
            pieces.append(written(r, words, words)[0])
        elif kind < 0.85:
            pieces.append(r.choice(EMPTY))
        elif kind < 0.9:
            pieces.append(r.choice(odd))
            break  # whether what follows is still read depends on how Redis's reads fall
        elif kind < 0.95:
            pieces.append(b"QUIT\r\n")
    wire = b"".join(pieces)
    return wire, wire


class Servers:
    """A server to talk to directly, and one behind a proxy."""

    def __init__(self, direct, behind):
        self.direct, self.behind = RedisServer(config_lines=direct), RedisServer(config_lines=behind)
        self.proxy = StorServer(self.behind.url_as(USER, SECRET), redis=GENEROUS)

    def __enter__(self):
        for server in (self.direct, self.behind, self.proxy):
            server.start()
        return self.direct.port, self.proxy.port

    def __exit__(self, *_):
        for server in (self.proxy, self.behind, self.direct):
            server.close()


def logged_in():
    return Servers(ACL, ACL)


def strangers():
    return Servers([f"requirepass {PASSWORD}"], ACL)
