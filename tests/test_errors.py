"""The tree of errors."""

import inspect

from twisted.trial.unittest import SynchronousTestCase

from stor import errors


class ErrorTests(SynchronousTestCase):
    def test_one_tree(self) -> None:
        """All are StorErrors, and the drawing in the docstring names each."""
        classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
        found = [kind for kind in classes if kind.__module__ == errors.__name__]
        self.assertGreater(len(found), 5)
        for kind in found:
            self.assertTrue(issubclass(kind, errors.StorError))
            self.assertRegex(errors.__doc__, rf"(?m)^ .*\b{kind.__name__}\b")

    def test_retry_after(self) -> None:
        """Those that may be tried again say when."""
        self.assertEqual(errors.TooMany("slow down", 1.5).retry_after, 1.5)
        self.assertIsNone(errors.Unavailable("away").retry_after)
        self.assertEqual(str(errors.Unavailable("away", 2.0)), "away")
