"""Signatures of requests to S3: AWS Signature Version 4, with the signature in the header."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"  # for a body whose SHA-256 is not known; what it is, says its Content-MD5
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to S3; the token is of a role that ends some time."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def encoded(text: str, safe: str = "") -> str:
    """Percent-encode as AWS does: all but letters, digits and `-._~`."""
    return quote(text, safe=safe)


def query_of(parameters: Mapping[str, str]) -> str:
    """Give a query in the canonical form, which is also a good one to send."""
    return "&".join(f"{encoded(name)}={encoded(parameters[name])}" for name in sorted(parameters))


def sign(
    credentials: Credentials,
    region: str,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload: str,
    now: float,
) -> dict[str, str]:
    """Give the headers to send: these (lower-case names, `host` among them) and the signature over all of them.

    `path` and `query` are encoded; `payload` is the lower-case hexadecimal SHA-256 of the body, or `UNSIGNED`.
    """
    time = _stamp(int(now))
    signed = {**headers, "x-amz-content-sha256": payload, "x-amz-date": time}
    if credentials.token is not None:
        signed["x-amz-security-token"] = credentials.token
    names = sorted(signed)
    # Without outer and double spaces: so it is specified, though it is sent as it stands.
    lines = "".join([f"{name}:{' '.join(signed[name].split())}\n" for name in names])
    listed = ";".join(names)
    asked = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{payload}"
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    text = f"{_ALGORITHM}\n{time}\n{scope}\n{sha256(asked.encode()).hexdigest()}"
    signature = hmac.digest(_key(credentials.secret_key, time[:8], region), text.encode(), "sha256").hex()
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return signed


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return strftime("%Y%m%dT%H%M%SZ", gmtime(second))


@lru_cache(maxsize=4)
def _key(secret: str, day: str, region: str) -> bytes:
    """Derive the key of a day."""
    key = f"AWS4{secret}".encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
