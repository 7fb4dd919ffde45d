"""The upstream's credential never reaches a client, however the server behind the proxy behaves."""

import signal
import socket
import ssl
import time

from twisted.trial.unittest import SynchronousTestCase

from stor.redis.resp import encode
from tests.certificates import Authority
from tests.places import folder
from tests.proxies import ACL, PASSWORD, SECRET, USER, StorServer, exactly, line, to_the_end
from tests.servers import RedisServer, free_port, wait_until

P = PASSWORD.encode()
HELLO = encode([b"HELLO", b"3", b"AUTH", b"default", P])


class Case(SynchronousTestCase):
    def serve(self, *config, redis=""):
        server = RedisServer(config_lines=[*config, *ACL]).start()
        self.addCleanup(server.close)
        proxy = StorServer(server.url_as(USER, SECRET), redis=redis, only="redis,web").start()
        self.addCleanup(proxy.close)
        return server, proxy


class Secrecy(Case):
    def test_a_server_that_does_not_know_hello(self):
        """It quotes the words of what it does not know: ours are not among them, and AUTH still works after it."""
        _, proxy = self.serve('rename-command HELLO ""')
        with proxy.client() as client:
            client.sendall(HELLO)
            self.assertTrue(line(client).startswith(b"-ERR unknown command 'HELLO'"))
            client.sendall(encode([b"AUTH", P]) + encode([b"SELECT", b"1"]))  # as juicefs does then
            self.assertEqual([line(client), line(client)], [b"+OK\r\n"] * 2)
            client.sendall(HELLO)
            answer = line(client)
            self.assertTrue(answer.startswith(b"-ERR unknown command 'HELLO'"), answer)
            self.assertNotIn(SECRET.encode(), answer)
        self.assertNotIn(SECRET, proxy.output)

    def test_a_server_that_does_not_know_auth(self):
        """Its refusal of our sign-in is not passed on, and is logged without the secret."""
        _, proxy = self.serve('rename-command AUTH ""')
        for login in (HELLO, encode([b"AUTH", P])):
            with proxy.client() as client:
                client.sendall(login)
                self.assertTrue(line(client).startswith(b"-ERR upstream refused"))
        self.assertNotIn(SECRET, proxy.output)
        self.assertIn("unknown command", proxy.output)

    def test_monitor_and_slow_log(self):
        """Neither shows it, whatever is wrong with a HELLO."""
        _, proxy = self.serve("slowlog-log-slower-than 0")
        odd = [
            [b"HELLO", b"4", b"AUTH", b"default", P],
            [b"HELLO", b"x", b"AUTH", b"default", P],
            [b"HELLO", b"3", b"AUTH", b"default", b"wrong", b"AUTH", b"default", P],
            [b"HELLO", b"3", b"SETNAME", b"a b", b"AUTH", b"default", P],
            [b"HELLO", b"3", b"AUTH", b"default", P, b"NONSENSE"],
            [b"AUTH", P, b"x", b"y"],
        ]
        with proxy.session() as watcher, proxy.session() as client:
            watcher.sendall(encode([b"MONITOR"]))
            self.assertEqual(line(watcher), b"+OK\r\n")
            for words in odd:
                client.sendall(encode(words))
                self.assertTrue(line(client).startswith(b"-"), words)
                with proxy.client() as stranger:
                    stranger.sendall(encode(words))
                    self.assertTrue(line(stranger).startswith(b"-"), words)
            client.sendall(encode([b"ECHO", b"that was all"]))
            exactly(client, 19)
            seen = b""
            while b"that was all" not in seen:
                seen += watcher.recv(65536)
            client.sendall(encode([b"SLOWLOG", b"GET", b"100"]) + encode([b"RESET"]))
            while not seen.endswith(b"+RESET\r\n"):
                seen += client.recv(65536)
        self.assertNotIn(SECRET.encode(), seen)

    def test_the_lua_debugger(self):
        """Its own reading of the stream is no way to have a login quoted back."""
        _, proxy = self.serve()
        login = encode([b"AUTH", P])
        seen = [
            self.debugged(proxy, login, len(written))  # padded for what it is, and for what it must not become
            for written in (login, encode([b"AUTH", USER.encode(), SECRET.encode()]))
        ]
        self.assertIn(b"AUTH", seen[0])
        self.assertNotIn(SECRET.encode(), b"".join(seen))

    def debugged(self, proxy, login, size):
        """Have the debugger evaluate a text that holds `login`, taken to have `size` bytes; what it says."""
        with proxy.session() as client:
            client.sendall(encode([b"SCRIPT", b"DEBUG", b"YES"]) + encode([b"EVAL", b"return 1", b"0"]))
            time.sleep(0.3)
            client.recv(65536)
            client.sendall(b"x *2\r\n$4\r\neval\r\n$150\r\n[[\r\n" + login + b" " * (142 - size) + b"\r\n]]\r\n")
            client.settimeout(1)
            seen = b""
            try:
                while piece := client.recv(65536):
                    seen += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return seen

    def test_disguised_logins(self):
        """A command that some server could take for AUTH, past our judging, ends the connection."""
        _, proxy = self.serve()
        with proxy.session() as client:
            client.sendall(encode([b"AUTH\x00131", b"admin", b"guess"]))
            self.assertEqual(to_the_end(client), b"")


class Openings(Case):
    def test_a_reload_never_opens_a_public_listener(self):
        """Without its password the file is refused, and the old password stays."""
        server = RedisServer(config_lines=ACL).start()
        self.addCleanup(server.close)
        proxy = StorServer(server.url_as(USER, SECRET), only="redis,web")
        self.addCleanup(proxy.close)
        proxy.configure(proxy.file.read_text().replace("host = '127.0.0.1'", "host = '0.0.0.0'", 1))
        proxy.start()
        proxy.configure(proxy.file.read_text().replace(f"password = '{PASSWORD}'", ""))
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "no password is set" in proxy.output, 5)
        with proxy.client() as client:
            client.sendall(encode([b"PING"]))
            self.assertTrue(line(client).startswith(b"-NOAUTH"))
        proxy.session().close()

    def test_a_tls_stranger_after_its_goodbye(self):
        """What a stranger sends after it was hung up on is not kept, also where TLS goes on reading."""
        authority, port = Authority(folder(self)), free_port()
        certificate, key = authority.certificate("one")
        tls = f"[redis.tls]\nport = {port}\ncert_file = '{certificate}'\nkey_file = '{key}'"
        _, proxy = self.serve(redis=tls)
        plain = socket.create_connection(("127.0.0.1", port), timeout=5)
        client = ssl.create_default_context(cafile=authority.file).wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(client.close)
        before = proxy.memory()
        client.sendall(b"QUIT\r\n")
        try:
            for _ in range(60):
                client.sendall(b"x" * (1 << 20))
        except OSError:
            pass
        self.assertLess(proxy.memory() - before, 20 << 20)

    def test_floods_of_nothing(self):
        """A stranger that says nothing at all, at length, is hung up on; others are served meanwhile."""
        _, proxy = self.serve()
        with proxy.session() as session, proxy.client() as flood:
            try:
                for _ in range(200):
                    flood.sendall(b"\n" * 5_000 + b"*0\r\n" * 2_000)
            except OSError:
                pass
            session.sendall(encode([b"PING"]))
            self.assertEqual(line(session), b"+PONG\r\n")
            self.assertEqual(to_the_end(flood), b"")

    def test_one_address_does_not_take_all_places(self):
        """When strangers fill the house, the oldest of the largest crowd makes room for somebody else."""
        _, proxy = self.serve(redis="[redis.limits]\nunauthenticated = 40")
        crowd = [
            socket.create_connection(("127.0.0.1", proxy.port), timeout=5, source_address=("127.0.0.9", 0))
            for _ in range(60)
        ]
        proxy.session().close()
        self.assertEqual(to_the_end(crowd[0]), b"")
        for stranger in crowd:
            stranger.close()


class Answers(Case):
    def test_a_second_command_behind_a_first(self):
        """SIGTERM with one command answered and another under way: the other is answered too."""
        _, proxy = self.serve()
        wait = b"local t = redis.call('TIME')[1] * 1 + %d while redis.call('TIME')[1] * 1 < t do end return %d"
        with proxy.session() as session:
            session.sendall(encode([b"EVAL", wait % (1, 1), b"0"]))
            time.sleep(0.1)
            session.sendall(encode([b"EVAL", wait % (2, 2), b"0"]))
            self.assertEqual(line(session), b":1\r\n")
            proxy.process.send_signal(signal.SIGTERM)
            self.assertEqual(to_the_end(session), b":2\r\n")
        self.assertEqual(proxy.wait_for_exit(5), 0)

    def test_a_hung_upstream_is_said_so(self):
        """A login that upstream does not answer is ended with the reason, and logged as upstream's fault."""
        server, proxy = self.serve(redis="connect_seconds = 1")
        server.pause()
        self.addCleanup(server.resume)
        with proxy.client() as client:
            client.sendall(encode([b"AUTH", P]))
            self.assertTrue(line(client).startswith(b"-ERR upstream is not available"))
        self.assertIn("no answer within 1 s", proxy.output)
