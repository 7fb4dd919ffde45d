"""What a deployment must be told."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.config.older import NAMES
from stor.dokku.questions import QUESTIONS, SECRETS, answered
from stor.errors import BadRequest, ConfigError

FOLDER = {"S3_BUCKET": "", "HEARE_AUTH_URL": "", "API_KEYS": "k"}


class QuestionTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Each setting is one that stor reads from its environment."""
        self.assertLessEqual({question.name for question in QUESTIONS}, NAMES.keys())

    def test_only_what_applies(self) -> None:
        """Without a bucket nothing of S3 is asked, without an auth service nothing of it."""
        self.assertEqual(answered(FOLDER, {}, None), FOLDER | {"LOG_LEVEL": "info"})
        names = [question.name for question in QUESTIONS]
        bucket = {name: "https://x.test" if "URL" in name else "debug" for name in names}
        self.assertEqual(answered({}, bucket, None).keys(), bucket.keys() - {"API_KEYS"})

    def test_asked_only_when_unknown(self) -> None:
        """People are asked for what is not kept, and for what the environment says otherwise."""
        asked = []

        def ask(question, offered):
            asked.append((question.name, offered))
            return offered

        answered(FOLDER, {"API_KEYS": "other", "S3_BUCKET": "", "LOG_LEVEL": "debug"}, ask)
        self.assertEqual(asked, [("API_KEYS", "other"), ("LOG_LEVEL", "debug")])

    def test_keys_are_made_once(self) -> None:
        """A key that was made is kept; another deployment has another one."""
        one, other = (answered({}, FOLDER | {"API_KEYS": ""}, None) for _ in range(2))
        self.assertNotEqual(one["API_KEYS"], other["API_KEYS"])
        self.assertEqual(answered(one, {}, None), one)

    def test_missing(self) -> None:
        """All that is missing is named; what depends on it is not."""
        with self.assertRaisesRegex(ConfigError, r": S3_BUCKET \(it may be empty\), HEARE_AUTH_URL"):
            answered({}, {}, None)

    def test_refused(self) -> None:
        """What cannot be right is refused by its name alone."""
        for name, value in (
            ("HEARE_AUTH_URL", "ftp://swordfish"),
            ("HEARE_AUTH_URL", "https://user:swordfish@host"),
            ("LOG_LEVEL", "swordfish"),
            ("API_KEYS", "sword\nfish"),
            ("AWS_SECRET_ACCESS_KEY", " "),
        ):
            (question,) = (question for question in QUESTIONS if question.name == name)
            with self.assertRaisesRegex(BadRequest, f"^{name} ") as caught:
                question.checked(value)
            self.assertNotIn("swordfish", str(caught.exception))

    @given(st.dictionaries(st.sampled_from(sorted(SECRETS)), st.text(min_size=1)))
    def test_secrets_are_never_told(self, environ) -> None:
        """Whatever the secrets are, no error shows one."""
        try:
            answered({}, {"S3_BUCKET": "b", "HEARE_AUTH_URL": ""} | environ, None)
        except (ConfigError, BadRequest) as why:
            for secret in filter(lambda text: len(text) > 3, environ.values()):
                self.assertNotIn(secret, str(why))
