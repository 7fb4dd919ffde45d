"""The shared secret that signs and verifies tokens by HS256."""

from base64 import urlsafe_b64encode

from jwt import PyJWK
from jwt.exceptions import PyJWTError
from twisted.logger import Logger

from stor.errors import ConfigError

log = Logger()

SECRET_BYTES = 32  # RFC 7518, section 3.2


def secret_key(secret: bytes) -> PyJWK:
    """Give the key that signs and verifies HS256; ConfigError for a public key, which anybody may know."""
    if len(secret) < SECRET_BYTES:
        log.warn("the JWT secret has {size} bytes; fewer than 32 can be guessed from one token", size=len(secret))
        # HMAC fills short keys up with zeros (RFC 2104), so this is the same key; PyJWT warns of it at every token.
        secret = secret.ljust(SECRET_BYTES, b"\0")
    key = PyJWK({"kty": "oct", "k": urlsafe_b64encode(secret).decode()}, "HS256")
    try:
        key.Algorithm.prepare_key(secret)
    except PyJWTError:
        raise ConfigError("the JWT secret is a key for another algorithm") from None
    return key
