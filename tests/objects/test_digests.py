"""Digests that callers announce."""

from base64 import b64encode
from hashlib import md5, sha256, sha512

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.errors import BadRequest, StorError, Unprocessable
from stor.objects.digests import EMPTY, expected

ALGORITHMS = {"sha-256": sha256, "sha-512": sha512}
unknown = st.sampled_from(
    [
        "crc32c=:AAAAAA==:",
        "unixsum=30637",
        "a",
        "b=?1",
        'c="x, sha-256=:AAAA:, \\" y"',
        "*d=tok/en",
        "e=-1.5",
        "f;g=1;h",
    ]
)


def member(name, data):
    return f"{name}=:{b64encode(ALGORITHMS[name](data).digest()).decode()}:"


class DigestTests(SynchronousTestCase):
    @given(
        st.binary(), st.lists(st.sampled_from(sorted(ALGORITHMS)) | unknown, max_size=6), st.sampled_from([",", " , "])
    )
    def test_right(self, data, names, comma):
        """Any dictionary of digests: those that we know are found, the others overlooked."""
        members = [member(name, data) if name in ALGORITHMS else name for name in names]
        wanted = {name.replace("-", ""): ALGORITHMS[name](data).hexdigest() for name in names if name in ALGORITHMS}
        self.assertEqual(expected(comma.join(members), None, None), wanted)

    @given(st.binary())
    def test_others(self, data):
        """Content-MD5 and X-Content-Hash say one each, and all may be said together."""
        short = md5(data, usedforsecurity=False)
        told = f"sha256:{sha256(data).hexdigest()}"
        found = expected(member("sha-256", data), b64encode(short.digest()).decode(), told.upper())
        self.assertEqual(found, {"md5": short.hexdigest(), "sha256": sha256(data).hexdigest()})

    @given(st.text(st.sampled_from('sha-25612=:;,"\\A+/ \t?*é')), st.text(max_size=30), st.text(max_size=30))
    def test_any(self, digest, short, told):
        """Whatever is sent is read or refused."""
        for said in ((digest, None, None), (None, short, None), (None, None, told)):
            try:
                found = expected(*said)
            except BadRequest:
                continue
            for name, value in found.items():
                self.assertEqual(len(value), {"sha256": 64, "sha512": 128, "md5": 32}[name])

    def test_malformed(self):
        """What is no dictionary, or no digest of its length, is refused."""
        good = member("sha-256", b"x")
        for said in (
            "sha-256",
            "sha-256=",
            "sha-256=abc",
            'sha-256=":AAAA:"',
            "sha-256=:AAAA:",
            "sha-256=::",
            f"{good},",
            f"{good},,a",
            f"{good} {good}",
            f",{good}",
            f"SHA-256{good[7:]}",
            good[:-1],
            good.replace("=:", "= :"),
            "é",
        ):
            with self.assertRaises(BadRequest, msg=said):
                expected(said, None, None)
        for said in ("", "AAAA", "5d41402abc4b2a76b9719d911017c592", "é", "\udcff" * 24):
            with self.assertRaises(BadRequest, msg=said):
                expected(None, said, None)
        for said in ("", "sha256:", f"sha256:{'g' * 64}", "a" * 64, f"sha512:{'a' * 128}"):
            with self.assertRaises(BadRequest, msg=said):
                expected(None, None, said)

    def test_last(self):
        """Of two members with one name the last counts (RFC 8941, 3.2); parameters mean nothing."""
        said = f"{member('sha-256', b'a')};q=1, {member('sha-256', b'b')}; r"
        self.assertEqual(expected(said, None, None), {"sha256": sha256(b"b").hexdigest()})

    def test_contradiction(self):
        """Two headers that no bytes could satisfy."""
        with self.assertRaises(Unprocessable) as raised:
            expected(member("sha-256", b"a"), None, f"sha256:{EMPTY}")
        self.assertEqual(raised.exception.code, "DIGEST_MISMATCH")
        self.assertEqual(EMPTY, sha256().hexdigest())

    def test_linear(self):
        """A long header that almost fits takes no longer than one that does."""
        for said in ("a;" * 8000 + "!", "a," * 8000 + "!", 'a="' + "\\\\" * 8000, "a=" + "b" * 16_000 + '"'):
            self.assertRaises(StorError, expected, said, None, None)
