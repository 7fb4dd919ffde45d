"""Secrets are taken out of texts."""

import json
from base64 import b64encode
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.dokku.secrecy import redacted, secrets_of, shown

SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=1)


class SecrecyTests(SynchronousTestCase):
    @given(st.sets(SECRETS, min_size=1), st.lists(st.text()), st.randoms())
    def test_gone(self, secrets, texts, random) -> None:
        """No secret stands in what is shown, plain or in base64, JSON or a URL, also where one holds another."""
        forms = [
            form
            for secret in secrets
            for form in (secret, b64encode(secret.encode()).decode(), json.dumps(secret)[1:-1], quote(secret, safe=""))
        ]
        pieces = [*texts, *forms]
        random.shuffle(pieces)
        left = redacted("*".join(pieces), secrets)
        for form in forms:
            self.assertNotIn(form, left)

    def test_the_rest_stays(self) -> None:
        """What is no secret is not touched."""
        self.assertEqual(redacted("key=one, file=none", {"one"}), "key=***, file=n***")
        self.assertEqual(redacted("all well", {"secret"}), "all well")
        self.assertEqual(redacted("all well", ()), "all well")

    def test_lists(self) -> None:
        """Each key of a list of keys is a secret by itself."""
        self.assertEqual(secrets_of({"API_KEYS": "a1, b2,", "S3_BUCKET": "c3"}), {"a1, b2,", "a1", "b2"})

    def test_shown(self) -> None:
        """Settings are shown with their secrets hidden; one that is empty hides nothing."""
        settings = {"API_KEYS": "a1", "AWS_ACCESS_KEY_ID": "", "S3_BUCKET": "c3"}
        self.assertEqual(shown(settings), {"API_KEYS": "***", "AWS_ACCESS_KEY_ID": "", "S3_BUCKET": "c3"})
