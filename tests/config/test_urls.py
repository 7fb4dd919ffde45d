"""Redis URLs, read exactly and never shown."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stor.config import RedisUrl, Secret, redis_address

words = st.text(st.characters(exclude_categories=["Cs"]))


class UrlTests(SynchronousTestCase):
    def read(self, url: str) -> RedisUrl:
        return redis_address(Secret(url))

    def test_parts(self) -> None:
        """Each part, percent-decoded; what is not said has Redis's defaults."""
        url = self.read("rediss://us%65r:p%40%2F%3A@redis.example:7000/3?insecure_skip_verify=true")
        self.assertEqual(
            url,
            RedisUrl(
                "redis.example",
                7000,
                tls=True,
                username="user",
                password=Secret("p@/:"),
                database=3,
                insecure_skip_verify=True,
            ),
        )
        self.assertEqual(self.read("redis://h"), RedisUrl("h", 6379))
        self.assertEqual(self.read("redis://:pw@[::1]:1/"), RedisUrl("::1", 1, password=Secret("pw")))

    @given(words, words, st.integers(0, 65535), st.integers(0, 99), st.booleans(), st.booleans())
    def test_round_trip(self, user: str, password: str, port: int, number: int, tls: bool, loose: bool) -> None:
        """A URL that we write reads as it was."""
        url = RedisUrl("h", port, tls, user, Secret(password), number, insecure_skip_verify=loose)
        self.assertEqual(redis_address(url.text()), url)

    def test_refused(self) -> None:
        """What is wrong is told by its part, and no part is shown."""
        for url, said in [
            ("http://user:hunter2@h", "redis://"),
            ("hunter2", "redis://"),
            ("redis://user:hunter2@", "without a host"),
            ("redis://user:hun/ter2@h", "host or port"),
            ("redis://user:hun?ter2@h", "host or port"),
            ("redis://user:hun#ter2@h", "host or port"),
            ("redis://user:hun[ter2@h", "host or port"),
            ("redis://user:hunter2%ff@h", "host or port"),
            ("redis://user:hunter2@h:99999", "host or port"),
            ("redis://user:hunter2@h/hunter2", "database"),
            ("redis://user:hunter2@h?ssl_cert_reqs=none", "option"),
            ("redis://user:hunter2@h?insecure_skip_verify=perhaps", "option"),
        ]:
            why = self.assertRaises(ValueError, self.read, url)
            self.assertIn(said, str(why))
            for secret in ("hun", "ter2", "perhaps", "none"):
                self.assertNotIn(secret, str(why))
            self.assertIsNone(why.__cause__)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is read or refused, with a message that is one of ours."""
        for url in (text, f"redis://{text}", f"rediss://u:{text}@h/0"):
            try:
                self.read(url)
            except ValueError as why:
                self.assertTrue(str(why).startswith("a Redis URL"), why)
