"""The repository that is pushed, against bare repositories beside it."""

import subprocess
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from stor.dokku.kept import Deployment
from stor.dokku.repository import Repository, files_of
from stor.errors import Conflict, Failed
from tests.places import folder

FILES = files_of(Deployment("h", "stor", "master", "stor", "1.0", {}))


class RepositoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder(self)
        self.bare = str(self.folder / "bare")
        self.git("init", "--quiet", "--bare", self.bare)
        self.repository = self.made("here")
        self.heard: list[str] = []

    def made(self, name: str) -> Repository:
        repository = Repository(self.folder / name)
        repository.make()
        return repository

    def git(self, *words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()

    def push(self, repository: Repository) -> bool:
        return repository.push(self.bare, "master", self.heard.append)

    def test_commit(self) -> None:
        """The same files are no new commit; other files are one, and what is gone is gone from it."""
        self.assertEqual(self.repository.head(), "")
        self.repository.commit(FILES, "one")
        first = self.repository.head()
        self.repository.commit(FILES, "two")
        self.assertEqual(self.repository.head(), first)
        self.repository.commit({"Dockerfile": "FROM x\n"}, "three")
        listed = self.git("-C", str(self.folder / "here"), "ls-tree", "--name-only", "HEAD")
        self.assertEqual(listed, "Dockerfile")

    def test_push(self) -> None:
        """It says whether the other side had it already."""
        self.repository.commit(FILES, "one")
        self.assertEqual((self.push(self.repository), self.push(self.repository)), (True, False))
        self.assertEqual(self.git("-C", self.bare, "rev-parse", "master"), self.repository.head())

    def test_refused(self) -> None:
        """What the other side says about a refusal is heard, without secrets."""
        hook = self.folder / "bare" / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho no room for swordfish >&2\nexit 1\n")
        hook.chmod(0o755)
        self.repository = Repository(self.folder / "here", ["swordfish"])
        self.repository.commit(FILES, "one")
        self.assertRaises(Failed, self.push, self.repository)
        self.assertIn("remote: no room for ***", [line.strip() for line in self.heard])

    def test_follow(self) -> None:
        """What another machine pushed is gone on from, so that ours is not refused."""
        self.repository.commit(FILES, "one")
        self.push(self.repository)
        other = self.made("other")
        other.follow(self.bare, "master")
        self.assertEqual(other.head(), self.repository.head())
        other.commit(FILES | {"Dockerfile": "FROM y\n"}, "two")
        self.assertTrue(self.push(other))
        self.repository.follow(self.bare, "master")
        self.assertEqual(other.head(), self.repository.head())

    def test_foreign(self) -> None:
        """What is not stor's is not gone on from."""
        for number, text in enumerate(('{"name": "blog"}', "[]", "{", None)):
            other, branch = self.made(f"other-{number}"), f"branch-{number}"
            other.commit({"README": "x"} | ({"app.json": text} if text else {}), "one")
            other.push(self.bare, branch, self.heard.append)
            self.assertRaises(Conflict, self.repository.follow, self.bare, branch)
        self.assertEqual(self.repository.head(), "")

    def test_nobodys_habits(self) -> None:
        """Neither the operator's configuration of git nor its environment changes what is done."""
        habits = self.folder / "gitconfig"
        habits.write_text("[commit]\ngpgsign = true\n[core]\nhooksPath = /nowhere\n[user]\nuseConfigOnly = true\n")
        environ = {"GIT_DIR": self.bare, "GIT_CONFIG_GLOBAL": str(habits), "GIT_AUTHOR_NAME": "me", "HOME": "/"}
        with mock.patch.dict("os.environ", environ):
            self.repository.commit(FILES, "one")
        said = self.git("-C", str(self.folder / "here"), "log", "--format=%an <%ae> %cn")
        self.assertEqual(said, "stor dokku <stor@localhost> stor dokku")

    def test_no_git(self) -> None:
        """Without git it says so."""
        with mock.patch.dict("os.environ", {"PATH": str(self.folder)}):
            self.assertRaisesRegex(Failed, "git is not installed", self.made, "none")

    def test_files(self) -> None:
        """The version is pinned, and the check asks where the image listens."""
        self.assertIn("FROM stor:1.0\n", FILES["Dockerfile"])
        self.assertIn('"port": 8080', FILES["app.json"])
