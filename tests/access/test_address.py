import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.access.address import (
    SIGNATURE,
    Short,
    Trusted,
    forwarded_for,
    neighbourhood,
    proxy_header,
)
from stor.errors import BadRequest, ConfigError


def version_2(command=0x21, family=0x11, block=b"", length=None):
    return SIGNATURE + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


def inet(source, port, target="10.9.9.9", tlvs=b""):
    addresses = ip_address(source).packed + ip_address(target).packed
    return addresses + struct.pack("!HH", port, 443) + tlvs


class TrustedTests(SynchronousTestCase):
    def test_networks(self):
        """An address is trusted when one of the networks holds it, in either family."""
        trusted = Trusted(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
        for address in ("10.1.2.3", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3"):
            self.assertIn(address, trusted)
        for address in ("11.0.0.1", "192.0.2.8", "2001:db9::1", "", "unknown", "10.0.0.1.example"):
            self.assertNotIn(address, trusted)

    def test_nobody(self):
        """Without networks nobody is trusted, loopback neither."""
        self.assertNotIn("127.0.0.1", Trusted([]))

    def test_not_a_network(self):
        """A setting that is no network is the operator's to change."""
        self.assertRaises(ConfigError, Trusted, ["10.0.0.0/33"])


class NeighbourhoodTests(SynchronousTestCase):
    def test_by_customer(self):
        """One IPv6 customer is one key; an IPv4 address is one however it is written; a text is itself."""
        self.assertEqual(neighbourhood("2001:db8:1:2:3::4"), neighbourhood("2001:db8:1:2::ffff"))
        self.assertNotEqual(neighbourhood("2001:db8:1:2::1"), neighbourhood("2001:db8:1:3::1"))
        self.assertEqual(neighbourhood("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(neighbourhood("key:stor_ab"), "key:stor_ab")


class VersionOneTests(SynchronousTestCase):
    def test_addresses(self):
        """The client's address and port come out, and where the client's own bytes begin."""
        for line, source in (
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", ("192.0.2.1", 56324)),
            (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", ("0.0.0.0", 0)),
            (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", ("2001:db8::1", 1)),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ("192.0.2.1", 1)),
            (b"PROXY UNKNOWN\r\n", (None, None)),
            (b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n", (None, None)),
        ):
            self.assertEqual(proxy_header(line + b"PING\r\n"), (*source, len(line)))

    def test_refused(self):
        """What the specification does not allow is refused at once."""
        for line in (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 9\r\n",
            b"PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 056324 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 \xff.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY \r\n",
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"GET / HTTP/1.1\r\n",
        ):
            self.assertRaises(BadRequest, proxy_header, line)

    def test_length(self):
        """A line may have 107 bytes, its CRLF included; one without an end is not waited for."""
        longest = b"PROXY UNKNOWN " + b"x" * (105 - 14) + b"\r\n"
        self.assertEqual(proxy_header(longest), (None, None, 107))
        self.assertRaises(BadRequest, proxy_header, longest[:-2] + b"x\r\n")
        self.assertRaises(Short, proxy_header, longest[:-1])
        self.assertRaises(BadRequest, proxy_header, b"PROXY UNKNOWN " + b"x" * 93)


class VersionTwoTests(SynchronousTestCase):
    def test_addresses(self):
        """Both families, for streams and datagrams; the bytes after the addresses are skipped."""
        tlv = b"\x04\x00\x03abc"
        for family, block, source in (
            (0x11, inet("192.0.2.1", 56324), ("192.0.2.1", 56324)),
            (0x12, inet("192.0.2.1", 1), ("192.0.2.1", 1)),
            (0x11, inet("192.0.2.1", 1, tlvs=tlv), ("192.0.2.1", 1)),
            (0x21, inet("2001:db8::1", 65535, "::1"), ("2001:db8::1", 65535)),
            (0x21, inet("::ffff:192.0.2.1", 2, "::1", tlv), ("192.0.2.1", 2)),
            (0x31, b"/run/a".ljust(216, b"\0"), (None, None)),
            (0x00, b"", (None, None)),
            (0x00, b"anything", (None, None)),
        ):
            data = version_2(family=family, block=block)
            self.assertEqual(proxy_header(data + b"PING\r\n"), (*source, len(data)))

    def test_local(self):
        """LOCAL is the sender's own connection (a health check), whatever addresses it carries."""
        data = version_2(0x20, 0x11, inet("192.0.2.1", 1))
        self.assertEqual(proxy_header(data), (None, None, len(data)))
        self.assertEqual(proxy_header(version_2(0x20, 0xFF)), (None, None, 16))

    def test_refused(self):
        """Another version, command or family, a block too small for its family or beyond our bound."""
        for data in (
            version_2(0x11, 0x11, inet("192.0.2.1", 1)),
            version_2(0x22, 0x11, inet("192.0.2.1", 1)),
            version_2(0x21, 0x41, bytes(300)),
            version_2(0x21, 0x13, inet("192.0.2.1", 1)),
            version_2(0x21, 0x11, bytes(11)),
            version_2(0x21, 0x21, bytes(35)),
            version_2(0x21, 0x31, bytes(215)),
            version_2(length=4097),
        ):
            self.assertRaises(BadRequest, proxy_header, data)

    def test_longest(self):
        """4096 bytes behind the first 16 are read."""
        data = version_2(block=inet("192.0.2.1", 1, tlvs=bytes(4084)))
        self.assertEqual(proxy_header(data)[2], 4112)


class CutTests(SynchronousTestCase):
    def test_everywhere(self):
        """Cut anywhere, a header is waited for, and never taken for something else."""
        for whole in (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            version_2(0x21, 0x21, inet("2001:db8::1", 1, "::1", b"\x01\x00\x00")),
        ):
            for end in range(len(whole)):
                self.assertRaises(Short, proxy_header, whole[:end])

    @given(st.binary(max_size=200), st.sampled_from([b"", SIGNATURE, b"PROXY ", SIGNATURE + b"\x21\x11"]))
    def test_noise(self, noise, begin):
        """Whatever comes: an answer within the data, Short, or BadRequest."""
        try:
            _, _, used = proxy_header(begin + noise)
        except (Short, BadRequest):
            return
        self.assertLessEqual(used, len(begin + noise))


class ForwardedTests(SynchronousTestCase):
    trusted = Trusted(["10.0.0.0/8", "fd00::/8"])

    def test_walk(self):
        """The walk from the right goes on only while the last hop is one of ours."""
        for header, peer, client in (
            (None, "10.0.0.1", "10.0.0.1"),
            ("", "10.0.0.1", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1", "192.0.2.1"),
            ("192.0.2.1", "198.51.100.1", "198.51.100.1"),
            ("8.8.8.8, 192.0.2.1, 10.0.0.2", "10.0.0.1", "192.0.2.1"),
            ("10.0.0.3,10.0.0.2", "10.0.0.1", "10.0.0.3"),
            ("192.0.2.1:4711", "10.0.0.1", "192.0.2.1"),
            ("[2001:db8::1]:80, fd00::2", "10.0.0.1", "2001:db8::1"),
            ("2001:db8::1", "fd00::1", "2001:db8::1"),
            ("192.0.2.1, unknown", "10.0.0.1", "10.0.0.1"),
            ("192.0.2.1, ", "10.0.0.1", "10.0.0.1"),
            ("8.8.8.8, <script>", "::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ):
            self.assertEqual(forwarded_for(header, peer, self.trusted), client, header)

    @given(st.text(max_size=60))
    def test_no_invention(self, header):
        """An untrusted peer is itself, whatever it writes."""
        self.assertEqual(forwarded_for(header, "198.51.100.1", self.trusted), "198.51.100.1")
