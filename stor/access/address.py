"""Where a client really is: trusted networks, the PROXY protocol's header and X-Forwarded-For."""

import struct
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from stor.errors import BadRequest, ConfigError

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"  # of version 2; no other protocol begins like this
MOST_V1 = 107  # bytes, the final CRLF included
MOST_V2 = 4096  # bytes after the first 16
_PREFIX = b"PROXY "
_IPV4_BYTES, _IPV6_BYTES, _UNIX_BYTES = 12, 36, 216  # the version 2 address blocks by family
_BLOCKS = {0: 0, 1: _IPV4_BYTES, 2: _IPV6_BYTES, 3: _UNIX_BYTES}

Source = tuple[str | None, int | None, int]


class Short(Exception):
    """Not all of it is here yet."""


class Trusted:
    """A set of networks whose word about a client's address counts: `address in trusted`."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        try:
            self._networks = tuple(ip_network(cidr, strict=False) for cidr in cidrs)
        except ValueError as why:
            raise ConfigError(f"not a network: {why}") from None

    def __contains__(self, address: str) -> bool:
        found = parse(address)
        return found is not None and any(found in network for network in self._networks)


@lru_cache(maxsize=4096)  # the same few addresses are asked about many times for each connection
def parse(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; IPv4 inside IPv6 (`::ffff:1.2.3.4`) is taken as IPv4, a zone is dropped."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def neighbourhood(address: str) -> str:
    """Give what limits are counted by: an IPv4 address, an IPv6 /64 (one customer's), or the text itself."""
    if ":" not in address and "%" not in address:
        return address  # IPv4 has one way to be written
    found = parse(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 64), strict=False))
    return address if found is None else str(found)


def proxy_header(data: bytes) -> Source:
    """Read the PROXY protocol header, version 1 or 2, at the beginning of a connection.

    Returns the client's address and port (None when the sender knows none: UNKNOWN, LOCAL, a unix socket)
    and the number of bytes the header takes. Raises Short while it is not complete, BadRequest when it is
    none. Source: haproxy's proxy-protocol.txt, sections 2.1 and 2.2.
    """
    for begin, read in ((SIGNATURE, _version_2), (_PREFIX, _version_1)):
        if data.startswith(begin):
            return read(data)
        if begin.startswith(data):
            raise Short
    raise BadRequest("no PROXY header")


def _version_1(data: bytes) -> Source:
    end = data.find(b"\r\n", 0, MOST_V1)
    if end < 0:
        if len(data) >= MOST_V1:
            raise BadRequest("PROXY header without an end")
        raise Short
    family, *rest = data[len(_PREFIX) : end].split(b" ")
    if family == b"UNKNOWN":
        return None, None, end + 2
    kind = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}.get(family)
    if kind is None or len(rest) != 4 or b"%" in data[:end]:  # no zones: they mean nothing elsewhere
        raise BadRequest("bad PROXY header")
    try:
        source, _ = (kind(word.decode("ascii")) for word in rest[:2])
    except ValueError:
        raise BadRequest("bad address in the PROXY header") from None
    port, _ = (_port(word) for word in rest[2:])
    return str(parse(str(source))), port, end + 2


def _port(word: bytes) -> int:
    """Read 0 to 65535 in plain digits; the specification forbids leading zeros."""
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and word != b"0") or int(word) > 65535:
        raise BadRequest("bad port in the PROXY header")
    return int(word)


def _version_2(data: bytes) -> Source:
    if len(data) < 16:
        raise Short
    command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    if command not in {0x20, 0x21}:
        raise BadRequest("unknown version or command in the PROXY header")
    if length > MOST_V2:
        raise BadRequest("PROXY header too long")
    if len(data) < 16 + length:
        raise Short
    if command == 0x20:  # LOCAL: the sender speaks for itself, whatever the block says
        return None, None, 16 + length
    network, protocol = family >> 4, family & 15
    if network not in _BLOCKS or protocol > 2 or length < _BLOCKS[network]:
        raise BadRequest("bad address block in the PROXY header")
    # What follows the addresses are TLVs: skipped.
    return *_addresses(network, protocol, data[16 : 16 + length]), 16 + length


def _addresses(network: int, protocol: int, block: bytes) -> tuple[str | None, int | None]:
    if protocol == 0 or network not in {1, 2}:
        return None, None
    packed, at = (block[:4], 8) if network == 1 else (block[:16], 32)
    (port,) = struct.unpack_from("!H", block, at)
    return str(parse(str(ip_address(packed)))), port


def forwarded_for(header: str | None, peer: str, trusted: Trusted) -> str:
    """Find the client's address: walk X-Forwarded-For from the right for as long as the last hop is trusted.

    What stands further left was written by somebody we do not trust. A word that is no address ends the walk.
    """
    address = peer
    for word in reversed((header or "").split(",")):
        found = _hop(word.strip()) if address in trusted else None
        if found is None:
            break
        address = found
    return address


def _hop(word: str) -> str | None:
    """Read `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    if word.startswith("["):
        word = word[1:].partition("]")[0]
    elif word.count(":") == 1:
        word = word.partition(":")[0]
    found = parse(word)
    return None if found is None else str(found)
