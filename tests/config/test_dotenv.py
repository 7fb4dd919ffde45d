"""`.env` files."""

from twisted.trial.unittest import SynchronousTestCase

from stor.config.dotenv import parse_dotenv


class DotenvTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Quotes, comments, `export`, blanks; a `#` inside a word belongs to it."""
        text = """
        # a comment
        A=plain
        export B = spaced out  # and told
        C='single # kept'
        D="double \\" \\\\ kept" # gone
        E=
        F=redis://u:p#w@h/0?x=y
        """
        self.assertEqual(
            parse_dotenv(text),
            {
                "A": "plain",
                "B": "spaced out",
                "C": "single # kept",
                "D": 'double " \\ kept',
                "E": "",
                "F": "redis://u:p#w@h/0?x=y",
            },
        )

    def test_wrong(self) -> None:
        """A line that is none is told by its number, without what stands in it."""
        why = self.assertRaises(ValueError, parse_dotenv, "A=1\nswordfish\n")
        self.assertEqual(str(why), "line 2 is not NAME=value")
