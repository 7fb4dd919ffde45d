"""How ssh is called, by the real ssh's own account of it."""

import os
from base64 import b64encode
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from stor.dokku.programs import QUOTED, Said, environment, run
from stor.dokku.remote import Dokku
from stor.errors import Failed, Unavailable
from tests.places import folder
from tests.programs import program

SETTINGS = {"API_KEYS": "sword fish,$(reboot) `x` \"' %h \\", "S3_BUCKET": ""}


class RemoteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder(self)
        environ = {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}
        patch = mock.patch.dict("os.environ", environ)
        patch.start()
        self.addCleanup(patch.stop)
        self.dokku = Dokku("dokku@host.test", self.folder, ["swordfish"])

    def ssh(self, script: str) -> None:
        """Put a shell script in ssh's place."""
        (self.folder / "ssh").write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "ssh").chmod(0o755)

    def test_settings(self) -> None:
        """The real ssh reads the command from the file; each value is one word in it, whatever it holds."""
        real = program("ssh")
        self.ssh(f'case "$*" in *-F*) {real} -G "$@" > {self.folder}/understood; esac')
        self.dokku.configure("stor", SETTINGS)
        said = (self.folder / "understood").read_text().splitlines()
        value = b64encode(SETTINGS["API_KEYS"].encode()).decode()
        self.assertIn(f"remotecommand config:set --no-restart --encoded stor API_KEYS={value}", said)
        self.assertIn("requesttty false", said)
        self.assertIn("user dokku", said)
        self.assertIn("host host.test", said)

    def test_words(self) -> None:
        """A command's words follow the host, behind a `--`."""
        self.ssh('echo "$@"')
        self.assertEqual(self.dokku.tell("urls", "stor"), "-T -o ConnectTimeout=15 dokku@host.test -- urls stor\n")

    def test_away(self) -> None:
        """A failure of ssh itself is told from the command's."""
        self.ssh("echo no route for swordfish >&2; exit 255")
        self.assertRaisesRegex(Unavailable, "no route for \\*\\*\\*", self.dokku.ask, "version")
        self.ssh("echo no such swordfish >&2; exit 20")
        self.assertEqual(self.dokku.ask("version").code, 20)
        self.assertRaisesRegex(Failed, "dokku version on .*: no such \\*\\*\\*", self.dokku.tell, "version")

    def test_versions(self) -> None:
        """Old enough, or silent: Failed."""
        for said, is_well in (("dokku version 0.31.0", True), ("1.0.0", True), ("0.30.9", False), ("none", False)):
            self.ssh(f"echo {said}")
            if is_well:
                self.dokku.check_version()
            else:
                self.assertRaises(Failed, self.dokku.check_version)

    def test_repr(self) -> None:
        """Its secrets do not show themselves."""
        self.assertNotIn("swordfish", repr(self.dokku))


class ProgramTests(SynchronousTestCase):
    def test_environment(self) -> None:
        """A child has the agent and the path, and neither our settings nor git's variables."""
        environ = {"AWS_SECRET_ACCESS_KEY": "swordfish", "GIT_DIR": "/x", "SSH_AUTH_SOCK": "/agent"}
        with mock.patch.dict("os.environ", environ):
            given = environment()
        self.assertEqual((given["SSH_AUTH_SOCK"], given["PATH"]), ("/agent", os.environ["PATH"]))
        self.assertEqual({"AWS_SECRET_ACCESS_KEY", "GIT_DIR"} & given.keys(), set())

    def test_slow(self) -> None:
        """What takes too long is ended."""
        self.assertRaisesRegex(Failed, "sleep did not end within 0.2 s", run, ["sleep", "20"], 0.2)

    def test_why(self) -> None:
        """A long complaint is cut so that no half of a secret is left."""
        said = Said(1, "", "x" * 10 + "swordfish" + "y" * (QUOTED - 4))
        self.assertNotIn("fish", said.why(["swordfish"]))
        self.assertEqual(Said(2, "", "").why([]), "exit code 2")
        self.assertEqual(Said(2, "out\n", " one\n\n two \n").why([]), "one / two")
