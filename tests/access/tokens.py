"""Keys of an issuer, and tokens signed with them."""

import json
import time
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SECRET = "s" * 32


@cache
def rsa_key(name, bits=2048):
    """One key for each name: they take long to make."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name, curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


def jwk(key, kid, **more):
    """Give the public half, as an issuer publishes it."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid} | more


def jwks(*words):
    return json.dumps({"keys": words}).encode()


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**more):
    """Give claims that are good for an hour; what is None is left out."""
    said = {"sub": "alice", "exp": int(time.time()) + 3600, "permissions": ["blobs:read"]} | more
    return {name: value for name, value in said.items() if value is not None}


def token(key=SECRET, algorithm="HS256", kid=None, **more):
    return jwt.encode(claims(**more), key, algorithm, headers=None if kid is None else {"kid": kid})
