"""The gate on the wire: first frames of real clients, passwords, limits, floods; the real program, a real Redis."""

import socket
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from stor.redis.resp import encode
from tests.proxies import ACL, PASSWORD, SECRET, USER, StorServer, exactly, line, to_the_end
from tests.servers import RedisServer, wait_until

P = PASSWORD.encode()


class Gate(SynchronousTestCase):
    redis = ""

    def setUp(self):
        self.server = RedisServer(config_lines=ACL).start()
        self.addCleanup(self.server.close)
        self.proxy = StorServer(
            self.server.url_as(USER, SECRET), redis=self.redis, only="redis,web", config="idle_seconds = 30"
        ).start()
        self.addCleanup(self.proxy.close)

    def client(self):
        client = self.proxy.client()
        self.addCleanup(client.close)
        return client

    def session(self):
        session = self.proxy.session()
        self.addCleanup(session.close)
        return session

    def ask(self, *frames):
        """Send all at once on a connection of its own; the first line that comes back."""
        with self.client() as client:
            client.sendall(b"".join(frames))
            return line(client)

    def secret_is_nowhere(self):
        """Neither of the passwords is in the log, the metrics, the arguments or the environment shown by ps."""
        argv = Path(f"/proc/{self.proxy.pid}/cmdline").read_text()
        for place in (self.proxy.output, self.proxy.get("/metrics"), argv):
            self.assertNotIn(SECRET, place)
            self.assertNotIn(PASSWORD, place)


class FirstFrames(Gate):
    def test_of_real_clients(self):
        """What juicefs, redis-py, node-redis, redis-cli and redis-benchmark send first is let in, pipelines whole."""
        lib = encode([b"client", b"setinfo", b"LIB-NAME", b"go-redis"]) + encode([b"cluster", b"info"])
        tail = encode([b"ECHO", b"the end"])
        for name, first in [
            ("juicefs", encode([b"hello", b"3", b"auth", b"default", P]) + lib),
            (
                "juicefs with a client name",
                encode([b"hello", b"2", b"auth", b"default", P, b"setname", b"foo"]) + lib,
            ),
            ("juicefs on an old server", encode([b"auth", P]) + encode([b"select", b"5"])),
            (
                "node-redis",
                encode([b"HELLO", b"3", b"AUTH", b"default", P]) + encode([b"SELECT", b"1"]) + lib,
            ),
            (
                "redis-py",
                encode([b"HELLO", b"3", b"AUTH", b"default", P]) + encode([b"CLIENT", b"MAINT_NOTIFICATIONS", b"ON"]),
            ),
            ("redis-cli", encode([b"AUTH", P])),
            ("redis-cli -u", encode([b"AUTH", b"", P])),
            ("redis-benchmark", encode([b"AUTH", P]) + encode([b"SET", b"k", b"v"])),
            ("a person with netcat", b"auth " + P + b"\n"),
        ]:
            with self.client() as client:
                client.sendall(first + tail)
                client.shutdown(socket.SHUT_WR)
                got = to_the_end(client)
                self.assertTrue(got.endswith(b"$7\r\nthe end\r\n"), (name, got))
                self.assertNotIn(b"WRONGPASS", got, name)
        self.secret_is_nowhere()

    def test_every_cut_of_the_first_frames(self):
        """The login may come in any two pieces."""
        wire = encode([b"HELLO", b"3", b"AUTH", b"default", P]) + encode([b"ECHO", b"x"])
        for cut in range(1, len(wire), 3):
            with self.client() as client:
                client.sendall(wire[:cut])
                time.sleep(0.002)
                client.sendall(wire[cut:])
                client.shutdown(socket.SHUT_WR)
                self.assertTrue(to_the_end(client).endswith(b"$1\r\nx\r\n"), cut)

    def test_interactive_redis_cli(self):
        """COMMAND before any AUTH gets the NOAUTH that redis-cli expects, and the login still works after it."""
        with self.client() as client:
            for frame, answer in [
                (encode([b"COMMAND", b"DOCS"]), b"-NOAUTH Authentication required.\r\n"),
                (
                    encode([b"AUTH", b"wrong"]),
                    b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
                ),
                (encode([b"RESET"]), b"+RESET\r\n"),
                (encode([b"AUTH", P]), b"+OK\r\n"),
                (encode([b"ACL", b"WHOAMI"]), b"$4\r\n"),
            ]:
                client.sendall(frame)
                self.assertEqual(line(client), answer)

    def test_a_stranger_costs_the_upstream_nothing(self):
        """Nothing is dialled before a right password."""
        before = self.connections()
        with self.client() as client:
            client.sendall(encode([b"PING"]) + encode([b"AUTH", b"wrong"]))
            line(client), line(client)
            self.assertEqual(self.connections(), before)

    def connections(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as direct:
            direct.sendall(encode([b"AUTH", USER.encode(), SECRET.encode()]) + encode([b"INFO", b"stats"]))
            assert line(direct) == b"+OK\r\n"
            info = exactly(direct, int(line(direct)[1:]))
        counted = int(info.split(b"total_connections_received:")[1].split()[0])
        self.asked = getattr(self, "asked", 0) + 1
        return counted - self.asked


class Upstreams(Gate):
    def test_down(self):
        """An upstream that is away is said so without its address; the session works again when it is back."""
        self.server.stop()
        answer = self.ask(encode([b"AUTH", P]), encode([b"PING"]))
        self.assertTrue(answer.startswith(b"-ERR upstream is not available"), answer)
        self.assertNotIn(str(self.server.port).encode(), answer)
        self.assertIn(str(self.server.port), self.proxy.output)
        self.server.start()
        self.session()

    def test_refuses_our_credential(self):
        """The proxy's own credential being wrong is never blamed on the client's password."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as direct:
            direct.sendall(
                encode([b"AUTH", USER.encode(), SECRET.encode()])
                + encode([b"ACL", b"SETUSER", USER.encode(), b"resetpass", b">another"])
            )
            self.assertEqual((line(direct), line(direct)), (b"+OK\r\n", b"+OK\r\n"))
        for login in ([b"AUTH", P], [b"HELLO", b"3", b"AUTH", b"default", P]):
            answer = self.ask(encode(login))
            self.assertTrue(answer.startswith(b"-ERR upstream refused"), answer)
        self.secret_is_nowhere()

    def test_hangs(self):
        """An upstream that takes connections and says nothing costs a login its deadline, and nobody else anything."""
        self.server.pause()
        self.addCleanup(self.server.resume)
        with self.client() as waiting:
            waiting.sendall(encode([b"AUTH", P]))
            self.assertEqual(self.ask(encode([b"PING"])), b"-NOAUTH Authentication required.\r\n")
            self.assertIn('"ok"', self.proxy.get("/up"))

    def test_full(self):
        """What else upstream has against a login is passed on as it said it."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as direct:
            direct.sendall(
                encode([b"AUTH", USER.encode(), SECRET.encode()]) + encode([b"CONFIG", b"SET", b"maxclients", b"1"])
            )
            self.assertEqual((line(direct), line(direct)), (b"+OK\r\n", b"+OK\r\n"))
            self.assertEqual(self.ask(encode([b"AUTH", P])), b"-ERR max number of clients reached\r\n")


class Guessing(Gate):
    redis = "[redis.limits]\nfailures = 5\nfailure_seconds = 1"

    def test_is_throttled(self):
        """After five wrong passwords the address waits, even with the right one; then it may come in again."""
        for _ in range(5):
            self.assertTrue(self.ask(encode([b"AUTH", b"guess"])).startswith(b"-WRONGPASS"))
        answer = self.ask(encode([b"AUTH", P]))
        self.assertTrue(answer.startswith(b"-ERR too many failed logins"), answer)
        time.sleep(1.2)
        self.session()
        self.assertEqual(self.proxy.metric('stor_redis_logins_total{outcome="wrong_password"}'), 5)
        self.assertEqual(self.proxy.metric('stor_redis_logins_total{outcome="throttled"}'), 1)

    def test_inside_a_session_too(self):
        """Wrong passwords in a session are WRONGPASS from upstream, count, and leave the login standing, to a point."""
        session = self.session()
        for _ in range(5):
            session.sendall(encode([b"AUTH", b"guess"]))
            self.assertTrue(line(session).startswith(b"-WRONGPASS"))
        session.sendall(encode([b"PING"]))
        self.assertEqual(line(session), b"+PONG\r\n")
        self.assertTrue(self.ask(encode([b"AUTH", P])).startswith(b"-ERR too many failed logins"))
        session.sendall(encode([b"AUTH", b"guess"]))
        self.assertEqual(to_the_end(session), b"")


class Strangers(Gate):
    redis = "[redis.limits]\nlogin_seconds = 1.5\nunauthenticated = 50\nconnections_per_address = 60"

    def test_slow_login(self):
        """Whoever has not logged in after the deadline is cut off, however busy it looks."""
        silent, busy = self.client(), self.client()
        began = time.monotonic()
        try:
            while time.monotonic() - began < 5:
                busy.sendall(b"PING\r\n")
                if not busy.recv(100):
                    break
                time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertLess(time.monotonic() - began, 4)
        self.assertEqual(to_the_end(silent), b"")
        self.assertGreaterEqual(self.proxy.metric('stor_redis_logins_total{outcome="too_slow"}'), 2)

    def test_unread_answers(self):
        """A flood whose answers nobody reads stops being read, and costs a bounded amount of memory."""
        before = self.proxy.memory()
        floods = [self.client() for _ in range(20)]
        for flood in floods:
            flood.settimeout(0.2)
        sent = 0
        for _ in range(40):
            for flood in floods:
                try:
                    sent += flood.send(b"PING\r\n" * 20_000)
                except (TimeoutError, BrokenPipeError, ConnectionResetError):
                    continue
        self.assertGreater(sent, 1 << 20)
        self.assertLess(self.proxy.memory() - before, 40 << 20)
        time.sleep(1.6)
        self.session()

    def test_big_commands(self):
        """Before login ten words of 16 KiB are the most, refused by their announcement alone."""
        before = self.proxy.memory()
        for wire, answer in [
            (b"*1000000\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
            (b"*2\r\n$4\r\nAUTH\r\n$500000000\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
            (b"*2\r\n$4\r\nAUTH\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
            (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
            (encode([b"PING"] + [b"x" * 16_384] * 9), b"-NOAUTH Authentication required.\r\n"),
        ]:
            self.assertEqual(self.ask(wire), answer)
        self.assertLess(self.proxy.memory() - before, 20 << 20)

    def test_http(self):
        """A browser, or a server made to send HTTP here, gets nothing, and what it carries is not read as commands."""
        for request in (
            b"POST / HTTP/1.1\r\nHost: h\r\n\r\nAUTH " + P + b"\r\n",
            b"Host: x\r\nAUTH " + P + b"\r\n",
        ):
            with self.client() as client:
                client.sendall(request)
                self.assertEqual(to_the_end(client), b"")
        with self.client() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertEqual(to_the_end(client), b"-NOAUTH Authentication required.\r\n")

    def test_too_many_at_once(self):
        """Beyond the cap newcomers are told what Redis says; those inside, and HTTP, go on."""
        session = self.session()
        crowd = [self.client() for _ in range(50)]
        self.assertEqual(line(self.client()), b"-ERR max number of clients reached\r\n")
        session.sendall(encode([b"PING"]))
        self.assertEqual(line(session), b"+PONG\r\n")
        self.assertIn('"ok"', self.proxy.get("/up"))
        self.assertEqual(self.proxy.metric('stor_redis_refused_total{reason="unauthenticated"}'), 1)
        for stranger in crowd:
            stranger.close()
        wait_until(self.lets_in, 5)

    def lets_in(self):
        with self.client() as client:
            client.sendall(encode([b"AUTH", P]))
            return line(client) == b"+OK\r\n"


class Flood(Gate):
    redis = "[redis.limits]\nlogin_seconds = 3"

    def test_ten_thousand_connections(self):
        """10,000 connections, one after the other as fast as they come: 1,000 wait at most, the house stands."""
        before = self.proxy.descriptors()
        session = self.session()
        crowd = []
        self.addCleanup(lambda: [client.close() for client in crowd])
        for _ in range(10_000):
            try:
                crowd.append(socket.create_connection(("127.0.0.1", self.proxy.port), timeout=5))
            except OSError:
                continue
            if len(crowd) >= 2_000:  # our own descriptors are as limited as the proxy's
                crowd.pop(0).close()
        session.sendall(encode([b"PING"]))
        self.assertEqual(line(session), b"+PONG\r\n")
        wait_until(lambda: self.proxy.descriptors() < before + 1_100, 2)  # some are still being turned away
        for client in crowd:
            client.close()
        wait_until(lambda: self.proxy.descriptors() <= before + 3, 10)


class Smuggling(Gate):
    def test_login_bytes_in_payloads_at_every_cut(self):
        """SET with a login as its value, cut at every byte: the value is stored as it was sent, no secret in it."""
        payload = encode([b"AUTH", P]) + encode([b"HELLO", b"3", b"AUTH", b"default", P]) + b"AUTH " + P + b"\r\n"
        wire = encode([b"SET", b"k", payload]) + encode([b"GET", b"k"])
        session = self.session()
        for cut in range(1, len(wire), 2):
            session.sendall(wire[:cut])
            time.sleep(0.001)
            session.sendall(wire[cut:])
            self.assertEqual(line(session), b"+OK\r\n")
            self.assertEqual(exactly(session, int(line(session)[1:]) + 2), payload + b"\r\n", cut)

    def test_desynchronising_frames(self):
        """Lengths that only a lenient parser takes end the connection before the login behind them is read."""
        for seam in (
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0_4\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$+4\r\n",
            b"*+3\r\n",
            b"*03\r\n",
        ):
            session = self.session()
            session.sendall(seam + encode([b"AUTH", P]) * 3)
            got = to_the_end(session)
            self.assertTrue(got.startswith(b"-ERR Protocol error"), got)
            self.assertEqual(got.count(b"\r\n"), 1)
        session = self.session()
        session.sendall(encode([b"KEYS", b"*"]))
        self.assertEqual(line(session), b"*0\r\n")
        self.secret_is_nowhere()


class Loopback(SynchronousTestCase):
    def test_no_password_beyond_loopback(self):
        """A listener that the network reaches does not start without a password, and says why in one line."""
        proxy = StorServer("redis://127.0.0.1:1", password=None)
        self.addCleanup(proxy.close)
        proxy.configure(proxy.file.read_text().replace("host = '127.0.0.1'", "host = '0.0.0.0'", 1))
        why = self.assertRaises(RuntimeError, proxy.start)
        self.assertIn("no password is set", str(why))

    def test_open_on_loopback(self):
        """Without a password a loopback listener lets everybody in, and AUTH is the upstream's to judge."""
        with (
            RedisServer() as server,
            StorServer(server.url, password=None) as proxy,
            proxy.client() as client,
        ):
            client.sendall(encode([b"PING"]) + encode([b"AUTH", b"x"]))
            self.assertEqual(line(client), b"+PONG\r\n")
            self.assertTrue(line(client).startswith(b"-ERR AUTH <password> called without any password"))
