"""Signatures, held against AWS' own example and against botocore."""

import logging
from datetime import UTC, datetime
from hashlib import sha256

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.storage.signing import Credentials, encoded, query_of, sign

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
EMPTY = sha256().hexdigest()
names = st.text(st.sampled_from("abcxyz"), min_size=1, max_size=4)


class SigningTests(SynchronousTestCase):
    def test_example(self):
        """GET Object of "Authenticating Requests: Using the Authorization Header" in the S3 API Reference."""
        signed = sign(
            Credentials("AKIAIOSFODNN7EXAMPLE", SECRET),
            "us-east-1",
            "GET",
            "/test.txt",
            "",
            {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"},
            EMPTY,
            NOW,
        )
        self.assertTrue(
            signed["authorization"].endswith("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
        )

    @given(
        st.sampled_from(["GET", "PUT"]),
        st.text(max_size=20),
        st.dictionaries(names, st.text(max_size=6), max_size=3),
        st.dictionaries(names.map("x-amz-meta-".__add__), st.text("ab= c", max_size=9), max_size=3),
        st.none() | st.just("token/=+"),
    )
    def test_as_botocore(self, method, key, parameters, headers, token):
        """Any key, query and metadata, spaces wherever, is signed as botocore would."""
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        path, query = "/bucket/" + encoded(key.replace("/", ""), "/"), query_of(parameters)
        signed = sign(
            Credentials("key", SECRET, token), "eu-1", method, path, query, {"host": "h:1", **headers}, EMPTY, NOW
        )
        request = AWSRequest(method, f"http://h:1{path}?{query}", headers={"Host": "h:1", **headers})
        for name in ("x-amz-content-sha256", "x-amz-date", "x-amz-security-token"):
            if name in signed:
                request.headers[name] = signed[name]
        request.context["timestamp"] = signed["x-amz-date"]
        auth = S3SigV4Auth(BotoCredentials("key", SECRET, token), "s3", "eu-1")
        string = auth.string_to_sign(request, auth.canonical_request(request))
        self.assertTrue(signed["authorization"].endswith(auth.signature(string, request)))

    def test_secrecy(self):
        """Credentials do not show themselves."""
        self.assertNotIn("wJal", repr(Credentials("key", SECRET, "wJalToken")))
