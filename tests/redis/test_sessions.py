"""Sessions under strain: ends, resets, back-pressure, upstreams that die, drains, reloads, thousands at once."""

import contextlib  # not `suppress` itself, which trial would take for its own
import resource
import signal
import socket
import struct
import threading
import time

from twisted.trial.unittest import SynchronousTestCase

from stor.redis.resp import encode
from tests.proxies import ACL, PASSWORD, SECRET, USER, StorServer, exactly, line, to_the_end
from tests.servers import RedisServer, wait_until

P = PASSWORD.encode()
LIMITS = (
    "drain_seconds = 3\n[redis.limits]\nconnections = 20000\nconnections_per_address = 20000\nunauthenticated = 20000"
)


class Sessions(SynchronousTestCase):
    def setUp(self):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.server = RedisServer("--maxclients", "9000", config_lines=ACL).start()
        self.addCleanup(self.server.close)
        self.proxy = StorServer(self.server.url_as(USER, SECRET), redis=LIMITS, only="redis,web").start()
        self.addCleanup(self.proxy.close)

    def session(self):
        session = self.proxy.session()
        self.addCleanup(session.close)
        return session

    def idle_again(self, descriptors):
        """Wait until the proxy holds no more descriptors than it did."""
        wait_until(lambda: self.proxy.descriptors() <= descriptors, 15)


class Ends(Sessions):
    def test_half_close(self):
        """A client that has said all it has to say is answered, and then the connection ends."""
        session = self.session()
        session.sendall(encode([b"ECHO", b"x"]) * 1000)
        session.shutdown(socket.SHUT_WR)
        self.assertEqual(to_the_end(session), b"$1\r\nx\r\n" * 1000)

    def test_reset_goes_through(self):
        """A client that resets its connection is gone upstream too, with nothing of it left here."""
        before = self.proxy.descriptors()
        watcher = self.session()
        session = self.session()
        session.sendall(encode([b"BLPOP", b"nothing", b"0"]))
        wait_until(lambda: self.connected(watcher) == 2, 5)
        session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        session.close()
        wait_until(lambda: self.connected(watcher) == 1, 5)
        watcher.close()
        self.idle_again(before)

    def connected(self, session):
        session.sendall(encode([b"CLIENT", b"LIST"]))
        return exactly(session, int(line(session)[1:]) + 2).count(b"\n") - 1

    def test_killed_from_upstream(self):
        """CLIENT KILL ends the client's connection, as it would a direct one."""
        killer, victim = self.session(), self.session()
        victim.sendall(encode([b"CLIENT", b"ID"]))
        number = line(victim)[1:].strip()
        killer.sendall(encode([b"CLIENT", b"KILL", b"ID", number]))
        self.assertEqual(line(killer), b":1\r\n")
        self.assertEqual(to_the_end(victim), b"")

    def test_last_words_before_an_end(self):
        """What upstream said before it closed reaches the client, however much the client still wanted to send."""
        for _ in range(50):
            session = self.session()
            with contextlib.suppress(OSError):
                session.sendall(encode([b"PING"]) + b"*+1\r\n" + b"x" * 500_000)
            got = to_the_end(session)
            self.assertTrue(got.startswith(b"+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"), got)
            session.close()

    def test_clients_come_and_go(self):
        """2,000 sessions one after the other leave no descriptor and next to no memory behind."""
        before = self.proxy.descriptors()
        for count in range(2_000):
            if count == 300:
                memory = self.proxy.memory()
            with self.proxy.session() as session:
                session.sendall(encode([b"PING"]))
                self.assertEqual(line(session), b"+PONG\r\n")
        self.idle_again(before)
        self.assertLess(self.proxy.memory() - memory, 3 << 20)
        self.assertEqual(self.proxy.metric("stor_redis_sessions"), 0)
        self.assertEqual(self.proxy.metric('stor_redis_sessions_started_total{user="default"}'), 2_000)


class Flow(Sessions):
    def test_large_values(self):
        """64 MiB up and down, whole."""
        session = self.session()
        value = bytes(range(256)) * (64 << 12)
        session.sendall(encode([b"SET", b"big", value]))
        self.assertEqual(line(session), b"+OK\r\n")
        session.sendall(encode([b"GET", b"big"]))
        self.assertEqual(exactly(session, int(line(session)[1:])), value)

    def test_a_reader_who_does_not_read(self):
        """Replies wait in Redis, not here: while a client does not read, the proxy's memory stays as it is."""
        session = self.session()
        session.sendall(encode([b"SET", b"v", b"x" * (1 << 20)]))
        self.assertEqual(line(session), b"+OK\r\n")
        before = self.proxy.memory()
        session.sendall(encode([b"GET", b"v"]) * 64)
        time.sleep(1.0)
        self.assertLess(self.proxy.memory() - before, 8 << 20)
        other = self.session()
        other.sendall(encode([b"PING"]))
        self.assertEqual(line(other), b"+PONG\r\n")
        for _ in range(64):
            self.assertEqual(len(exactly(session, int(line(session)[1:]) + 2)), (1 << 20) + 2)

    def test_an_upstream_that_does_not_read(self):
        """Requests wait in the client while Redis hangs, and are answered when it goes on."""
        session = self.session()
        session.settimeout(0.5)
        self.server.pause()
        before, sent, frame = self.proxy.memory(), 0, encode([b"ECHO", b"x" * 65_536])
        try:
            while sent < 400 * len(frame):
                sent += session.send(frame[sent % len(frame) :])
        except TimeoutError:
            pass
        self.assertLess(self.proxy.memory() - before, 8 << 20)
        self.assertLess(sent, 400 * len(frame))
        self.server.resume()
        session.settimeout(20)
        rest = frame[sent % len(frame) :] if sent % len(frame) else b""
        threading.Thread(target=session.sendall, args=(rest,)).start()
        for _ in range(sent // len(frame) + bool(rest)):
            self.assertEqual(len(exactly(session, int(line(session)[1:]) + 2)), 65_538)

    def test_published_messages(self):
        """Pub/sub and RESP3 pushes arrive unasked."""
        subscriber, publisher = self.session(), self.session()
        subscriber.sendall(encode([b"SUBSCRIBE", b"c"]))
        exactly(subscriber, len(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"))
        publisher.sendall(encode([b"PUBLISH", b"c", b"hi"]))
        expected = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"
        self.assertEqual(exactly(subscriber, len(expected)), expected)


class Users(Sessions):
    def test_several_and_reloaded(self):
        """Users have upstream users of their own; a reload changes passwords and leaves sessions alone."""
        admin = self.session()
        admin.sendall(encode([b"ACL", b"SETUSER", b"reader", b"on", b">reader-secret", b"~*", b"+get", b"+acl|whoami"]))
        self.assertEqual(line(admin), b"+OK\r\n")
        text = self.proxy.file.read_text()
        reader = self.server.url_as("reader", "reader-secret")
        users = f"[redis.users.reading]\npassword = 'one'\nupstream = '{reader}'\n"
        self.proxy.configure(text + "\n" + users)
        self.reload()
        session = self.proxy.session(encode([b"AUTH", b"reading", b"one"]))
        self.addCleanup(session.close)
        self.assertEqual(self.who(session), b"reader")
        session.sendall(encode([b"AUTH", b"default", P]))
        self.assertEqual(line(session), b"+OK\r\n")
        self.assertEqual(self.who(session), USER.encode())
        self.proxy.configure(text + "\n" + users.replace("'one'", "'two'"))
        self.reload()
        session.sendall(encode([b"AUTH", b"reading", b"one"]))
        self.assertTrue(line(session).startswith(b"-WRONGPASS"))
        self.assertEqual(self.who(session), USER.encode())
        self.assertEqual(self.who(admin), USER.encode())
        with self.proxy.session(encode([b"AUTH", b"reading", b"two"])) as again:
            self.assertEqual(self.who(again), b"reader")

    def test_another_upstream_is_not_reached_from_a_session(self):
        """A session stays on its server: a login of a user of another server in mid-session is WRONGPASS."""
        with RedisServer(config_lines=ACL) as other:
            text = self.proxy.file.read_text()
            url = other.url_as(USER, SECRET)
            self.proxy.configure(f"{text}\n[redis.users.far]\npassword = 'far'\nupstream = '{url}'\n")
            self.reload()
            session = self.session()
            session.sendall(encode([b"AUTH", b"far", b"far"]))
            self.assertTrue(line(session).startswith(b"-WRONGPASS"))
            with self.proxy.session(encode([b"AUTH", b"far", b"far"])) as far:
                far.sendall(encode([b"CONFIG", b"GET", b"port"]))
                self.assertIn(str(other.port).encode(), exactly(far, 25))

    def test_bad_reload_changes_nothing(self):
        """A configuration that cannot be read is said so, and all is as before."""
        self.proxy.configure("[redis]\nnonsense = 1\n")
        self.proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "nonsense" in self.proxy.output, 5)
        self.session()

    def reload(self):
        count = self.proxy.output.count('"reloaded"')
        self.proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.proxy.output.count('"reloaded"') > count, 5)

    def who(self, session):
        session.sendall(encode([b"ACL", b"WHOAMI"]))
        size = int(line(session)[1:])
        return exactly(session, size + 2)[:-2]


class Drain(Sessions):
    def test_idle_sessions_end_at_once(self):
        """With nothing under way the process is gone well before its deadline, with exit code 0."""
        sessions = [self.session() for _ in range(20)]
        for session in sessions:
            session.sendall(encode([b"PING"]))
            line(session)
        began = time.monotonic()
        self.proxy.process.send_signal(signal.SIGTERM)
        self.assertEqual([to_the_end(session) for session in sessions], [b""] * 20)
        self.assertEqual(self.proxy.wait_for_exit(5), 0)
        self.assertLess(time.monotonic() - began, 2)

    def test_commands_under_way_finish(self):
        """A command that runs when the signal comes is answered; newcomers are refused; twice is not faster."""
        session = self.session()
        session.sendall(
            encode(
                [
                    b"EVAL",
                    b"local t = redis.call('TIME')[1] + 2 while redis.call('TIME')[1] + 0 < t do end return 'done'",
                    b"0",
                ]
            )
        )
        time.sleep(0.2)
        self.proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        self.proxy.process.send_signal(signal.SIGTERM)
        self.assertRaises(ConnectionRefusedError, self.proxy.client)
        self.assertEqual(to_the_end(session), b"$4\r\ndone\r\n")
        self.assertEqual(self.proxy.wait_for_exit(5), 0)

    def test_half_sent_commands_may_be_completed(self):
        """A client in the middle of a request is waited for."""
        session = self.session()
        session.sendall(b"*2\r\n$4\r\nECHO\r\n$5\r\nhe")
        time.sleep(0.1)
        self.proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        session.sendall(b"llo\r\n")
        self.assertEqual(to_the_end(session), b"$5\r\nhello\r\n")

    def test_waiting_clients_are_cut_off_at_the_deadline(self):
        """A client that waits for ever is waited for until the deadline, not longer."""
        session = self.session()
        session.sendall(encode([b"BLPOP", b"nothing", b"0"]))
        time.sleep(0.1)
        began = time.monotonic()
        self.proxy.process.send_signal(signal.SIGTERM)
        self.assertEqual(to_the_end(session), b"")
        self.assertEqual(self.proxy.wait_for_exit(5), 0)
        self.assertTrue(2.5 < time.monotonic() - began < 5)

    def test_under_load(self):
        """Pipelining clients get whole answers up to the end, in step with what they asked; nothing hangs."""
        workers = [Load(self.proxy) for _ in range(8)]
        time.sleep(1.0)
        self.proxy.process.send_signal(signal.SIGTERM)
        for worker in workers:
            worker.join(10)
            self.assertFalse(worker.is_alive())
        self.assertEqual([worker.wrong for worker in workers], [None] * 8)
        self.assertGreater(sum(worker.answered for worker in workers), 1_000)
        self.assertEqual(self.proxy.wait_for_exit(5), 0)


class Load(threading.Thread):
    """Asks and checks the answers until the connection ends."""

    def __init__(self, proxy) -> None:
        super().__init__(daemon=True)
        self.answered, self.wrong = 0, None
        self._session = proxy.session()
        self.start()

    def run(self):
        with self._session as session:
            try:
                while self.wrong is None:
                    words = [b"%d" % (self.answered + i) for i in range(8)]
                    session.sendall(b"".join(encode([b"ECHO", word]) for word in words))
                    for word in words:
                        size = line(session)
                        if not size:
                            return
                        got = exactly(session, len(word) + 2)
                        if (size, got) != (b"$%d\r\n" % len(word), word + b"\r\n"):
                            self.wrong = word, size, got
                            return
                        self.answered += 1
            except OSError:
                return


class Thousands(Sessions):
    def test_five_thousand(self):
        """5,000 sessions within 40 KiB each; upstream killed, all end; it is back, all come again; nothing leaks."""
        with self.proxy.session():
            pass
        wait_until(lambda: self.proxy.metric("stor_redis_sessions") == 0, 5)
        before, memory = self.proxy.descriptors(), self.proxy.memory()
        crowd = self.crowd()
        self.assertLess((self.proxy.memory() - memory) / 5_000, 40 << 10)
        self.server.kill()
        self.assertEqual({to_the_end(session) for session in crowd}, {b""})
        for session in crowd:
            session.close()
        self.idle_again(before)
        self.server.start()
        crowd = self.crowd()
        peak = self.proxy.memory()
        self.proxy.process.send_signal(signal.SIGTERM)
        self.assertEqual({to_the_end(session) for session in crowd}, {b""})
        self.assertEqual(self.proxy.wait_for_exit(8), 0)
        self.assertLess((peak - memory) / 5_000, 40 << 10)
        for session in crowd:
            session.close()

    def crowd(self):
        crowd = []
        for _ in range(5_000):
            crowd.append(self.proxy.client())
            self.addCleanup(crowd[-1].close)
            crowd[-1].sendall(encode([b"AUTH", P]) + encode([b"PING"]))
            if len(crowd) >= 50:
                self.assertEqual(exactly(crowd[-50], 12), b"+OK\r\n+PONG\r\n")
        for session in crowd[-49:]:
            self.assertEqual(exactly(session, 12), b"+OK\r\n+PONG\r\n")
        return crowd
