"""TLS on either side, certificates that change or do not fit, and PROXY headers; the real program, a real Redis."""

import socket
import ssl
import struct
import time

from twisted.trial.unittest import SynchronousTestCase

from stor.redis.resp import encode
from tests.certificates import Authority
from tests.places import folder
from tests.proxies import ACL, PASSWORD, SECRET, USER, StorServer, exactly, line, to_the_end
from tests.servers import RedisServer, TlsRedisServer, free_port, wait_until

P = PASSWORD.encode()


class Upstream(SynchronousTestCase):
    def setUp(self):
        self.authority = Authority(folder(self))

    def ask(self, host="localhost", query="", redis="", name="localhost"):
        """Log in and ECHO through a proxy whose upstream is `rediss://`; the two answers and the proxy's log."""
        server = TlsRedisServer(config_lines=ACL, authority=self.authority, host=name)
        with server:
            proxy = StorServer(f"rediss://{USER}:{SECRET}@{host}:{server.port}/0{query}", redis=redis)
            with proxy, proxy.client() as client:
                client.sendall(encode([b"AUTH", P]) + encode([b"ECHO", b"x" * 100_000]))
                first = line(client)
                rest = exactly(client, 100_011) if first == b"+OK\r\n" else b""
                return first, rest, proxy.output

    def test_verified_with_a_private_authority(self):
        """With the authority's file the upstream is trusted, by name and by address, and large values pass."""
        for host in ("localhost", "127.0.0.1"):
            first, rest, _ = self.ask(host, redis=f"ca_file = '{self.authority.file}'")
            self.assertEqual((first, rest), (b"+OK\r\n", b"$100000\r\n" + b"x" * 100_000 + b"\r\n"), host)

    def test_half_close(self):
        """A plain client that has said all it has to say is answered by an upstream behind TLS too."""
        with TlsRedisServer(config_lines=ACL, authority=self.authority) as server:
            url = f"rediss://{USER}:{SECRET}@localhost:{server.port}"
            with StorServer(url, redis=f"ca_file = '{self.authority.file}'") as proxy, proxy.client() as client:
                busy = b"local t = redis.call('TIME')[1] * 1 + 1 while redis.call('TIME')[1] * 1 < t do end return 7"
                client.sendall(encode([b"AUTH", P]) + encode([b"EVAL", busy, b"0"]))
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(to_the_end(client), b"+OK\r\n:7\r\n")

    def test_unknown_authority(self):
        """Without it nothing is sent, the client is told no more than that, and the log says why."""
        first, _, log = self.ask()
        self.assertTrue(first.startswith(b"-ERR upstream is not available"), first)
        self.assertIn("certificate", log)
        self.assertNotIn(SECRET, log)

    def test_wrong_name(self):
        """A certificate for another name is not taken."""
        first, _, _ = self.ask(redis=f"ca_file = '{self.authority.file}'", name="another.example")
        self.assertTrue(first.startswith(b"-ERR upstream is not available"), first)

    def test_unverified_when_asked(self):
        """Only the explicit setting leaves it unverified, with a warning."""
        first, _, log = self.ask(query="?insecure_skip_verify=true", name="another.example")
        self.assertEqual(first, b"+OK\r\n")
        self.assertIn("NOT verified", log)

    def test_bad_authority_file(self):
        """A CA file that is none is a start-up error in one line."""
        bad = folder(self) / "bad.pem"
        bad.write_text("not a certificate")
        why = self.assertRaises(RuntimeError, self.ask, redis=f"ca_file = '{bad}'")
        self.assertIn("cannot use the CA file", str(why))


class Listener(SynchronousTestCase):
    def setUp(self):
        self.folder = folder(self)
        self.authority = Authority(self.folder)
        self.certificate, self.key = self.authority.certificate("one")
        self.server = RedisServer(config_lines=ACL).start()
        self.addCleanup(self.server.close)
        self.tls_port = free_port()
        self.proxy = StorServer(
            self.server.url_as(USER, SECRET),
            redis=f"""
            [redis.tls]
            port = {self.tls_port}
            cert_file = '{self.certificate}'
            key_file = '{self.key}'
            [redis.proxy_protocol]
            trusted = ['127.0.0.2/32']
            [redis.limits]
            failures = 2
            """,
            only="redis,web",
        ).start()
        self.addCleanup(self.proxy.close)

    def connect(self, source="127.0.0.1", header=b"", port=None):
        """Connect by TLS; the name on the certificate that is shown."""
        plain = socket.create_connection(("127.0.0.1", port or self.tls_port), timeout=10, source_address=(source, 0))
        plain.sendall(header)
        context = ssl.create_default_context(cafile=self.authority.file)
        client = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(client.close)
        return client

    def common_name(self):
        return dict(pair[0] for pair in self.connect().getpeercert()["subject"])["commonName"]

    def test_session(self):
        """A session over TLS carries pipelines, large values and logins in mid-stream."""
        client = self.connect()
        value = encode([b"AUTH", P]) * 20_000
        client.sendall(
            encode([b"AUTH", P]) + encode([b"SET", b"k", value]) + encode([b"AUTH", P]) + encode([b"GET", b"k"])
        )
        self.assertEqual([line(client) for _ in range(3)], [b"+OK\r\n"] * 3)
        self.assertEqual(exactly(client, int(line(client)[1:]) + 2), value + b"\r\n")

    def test_new_certificate_is_taken_up(self):
        """A renewed certificate is shown to the next client; one that cannot be used is not, and the old one stays."""
        self.assertEqual(self.common_name(), "one")
        session = self.connect()
        session.sendall(encode([b"AUTH", P]))
        self.assertEqual(line(session), b"+OK\r\n")
        new, key = self.authority.certificate("two")
        key.replace(self.key)
        new.replace(self.certificate)
        wait_until(lambda: self.common_name() == "two", 5)
        self.certificate.write_text("broken")
        time.sleep(1.1)
        self.assertEqual(self.common_name(), "two")
        session.sendall(encode([b"PING"]))
        self.assertEqual(line(session), b"+PONG\r\n")

    def test_true_address_behind_a_trusted_balancer(self):
        """From a trusted address the header's client is the one that is limited and logged, over TLS and without."""
        v2 = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
            "!BBH4s4sHH", 0x21, 0x11, 12, bytes([9, 9, 9, 9]), b"\x7f\0\0\1", 1, 2
        )
        v1 = b"PROXY TCP4 9.9.9.9 127.0.0.1 1234 6379\r\n"
        for header, answers in [
            (v1, b"-WRONGPASS"),
            (v2, b"-WRONGPASS"),
            (v1, b"-ERR too many"),
            (v2, b"-ERR too many"),
        ]:
            client = self.connect("127.0.0.2", header)
            client.sendall(encode([b"AUTH", b"wrong"]))
            self.assertTrue(line(client).startswith(answers), answers)
        with socket.create_connection(
            ("127.0.0.1", self.proxy.port), timeout=5, source_address=("127.0.0.2", 0)
        ) as plain:
            plain.sendall(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n" + encode([b"AUTH", P]))
            self.assertEqual(line(plain), b"+OK\r\n")
        self.assertIn("9.9.9.9", self.proxy.output)

    def test_spoofed_header(self):
        """From anybody else the header is an unknown command of a stranger, and the limits are the stranger's own."""
        for _ in range(2):
            with self.proxy.client() as client:
                client.sendall(b"PROXY TCP4 127.0.0.2 127.0.0.1 1 2\r\n" + encode([b"AUTH", b"wrong"]))
                self.assertEqual(line(client), b"-NOAUTH Authentication required.\r\n")
                self.assertTrue(line(client).startswith(b"-WRONGPASS"))
        with self.proxy.client() as client:
            client.sendall(b"PROXY TCP4 1.2.3.4 127.0.0.1 1 2\r\n" + encode([b"AUTH", P]))
            self.assertEqual(line(client), b"-NOAUTH Authentication required.\r\n")
            self.assertTrue(line(client).startswith(b"-ERR too many"))
        self.assertNotIn("1.2.3.4", self.proxy.output)

    def test_no_header_from_the_balancer(self):
        """A trusted address must send one: without it the connection is closed before anything is answered."""
        with socket.create_connection(
            ("127.0.0.1", self.proxy.port), timeout=5, source_address=("127.0.0.2", 0)
        ) as plain:
            plain.sendall(encode([b"AUTH", P]))
            self.assertEqual(to_the_end(plain), b"")
        self.assertEqual(self.proxy.metric('stor_redis_refused_total{reason="proxy_header"}'), 1)
