"""What is kept in `~/.stor/dokku`."""

import os
from dataclasses import replace
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from stor.dokku.kept import Deployment, load, opened, save
from stor.errors import BadRequest, ConfigError, Conflict
from tests.places import folder

ONE = Deployment("host.test", "stor", "master", "stor", "1.0", {"API_KEYS": "swordfish"})


class KeptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder(self) / "deep" / "dokku"

    def test_round_trip(self) -> None:
        """What was saved is what is loaded; before, there is nothing."""
        with opened(self.folder):
            self.assertIsNone(load(self.folder))
            save(self.folder, ONE)
            self.assertEqual(load(self.folder), ONE)

    def test_whole_or_not(self) -> None:
        """A disk that refuses leaves what was there, and nothing beside it."""
        with opened(self.folder):
            save(self.folder, ONE)
            for step in ("fsync", "replace"):
                with mock.patch.object(os, step, side_effect=OSError(28, "No space left on device")):
                    self.assertRaises(ConfigError, save, self.folder, replace(ONE, version="2.0"))
        self.assertEqual(load(self.folder), ONE)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"config.json", "lock"})

    def test_unreadable(self) -> None:
        """A file that is none of ours is named, and not quoted."""
        with opened(self.folder):
            for text in ("swordfish", '{"host": "swordfish"}', '{"host": 1}'):
                (self.folder / "config.json").write_text(text)
                with self.assertRaisesRegex(ConfigError, "config.json") as caught:
                    load(self.folder)
                self.assertNotIn("swordfish", str(caught.exception))

    def test_one_at_a_time(self) -> None:
        """A second one is told so, and has its turn when the first has ended."""
        with opened(self.folder), self.assertRaises(Conflict), opened(self.folder):
            self.fail("both were let in")
        with opened(self.folder):
            pass

    def test_names(self) -> None:
        """No name can be an option, a path that climbs, or two words."""
        for changes in (
            {"host": "-oProxyCommand=x"},
            {"host": "a@-b"},
            {"host": "a b"},
            {"host": "a:b"},
            {"app": "-a"},
            {"app": "a b"},
            {"app": "../a"},
            {"branch": "-f"},
            {"branch": "a:b"},
            {"image": "a\nRUN x"},
            {"image": "-a"},
            {"version": "-1"},
            {"version": "1 AS x"},
            {"version": ""},
        ):
            self.assertRaises(BadRequest, replace, ONE, **changes)

    def test_target(self) -> None:
        """Dokku's own user is called, unless another one is named."""
        self.assertEqual(ONE.target, "dokku@host.test")
        self.assertEqual(replace(ONE, host="ops@host.test").target, "ops@host.test")
        replace(ONE, image="registry.test:5000/team/stor")

    def test_repr(self) -> None:
        """Its settings do not show themselves."""
        self.assertNotIn("swordfish", repr(ONE))
