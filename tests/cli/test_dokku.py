"""`stor dokku` from its first question to an upgrade, against a stand-in for ssh and real bare repositories."""

import json
import os
import pty
import select
import subprocess
import sys
from base64 import b64encode
from typing import ClassVar
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from stor import __version__
from tests.dokku.hosts import COMMAND, Host, Operator

ACCESS, SECRET = "AKIA-access/one+1", 'sec"ret one/+=two'
FORBIDDEN = [form for text in (ACCESS, SECRET) for form in (text, b64encode(text.encode()).decode(), quote(text))]
BUCKET = {
    "S3_BUCKET": "blobs",
    "S3_ENDPOINT_URL": "https://s3.example.test",
    "AWS_ACCESS_KEY_ID": ACCESS,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "HEARE_AUTH_URL": "https://auth.example.test",
    "HEARE_AUTH_APP_ID": "memory",
}
LOCAL = {"S3_BUCKET": "", "HEARE_AUTH_URL": "", "API_KEYS": "key-one-of-two,key-two-of-two"}


class DokkuCase(SynchronousTestCase):
    timeout = 120
    settings: ClassVar[dict[str, str]] = BUCKET

    def setUp(self) -> None:
        self.host = Host(self)
        self.operator = Operator(self, self.host)

    def set_up(self, *words: str) -> None:
        ended = self.operator.run("setup", "dokku.test", "--yes", *words, **self.settings)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def well(self, *words: str) -> str:
        """Run it to a good end; give what it printed."""
        ended = self.operator.run(*words)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        return ended.stdout

    def fails(self, code: int, *words: str, **environ: str) -> str:
        """Run it to a bad end; give its complaint."""
        ended = self.operator.run(*words, **environ)
        self.assertEqual(ended.returncode, code, ended)
        return ended.stderr


class SetupTests(DokkuCase):
    def kept(self) -> dict:
        return json.loads((self.operator.folder / "config.json").read_text())

    def test_private(self) -> None:
        """What is kept can be read by its owner alone, even where the folder was open before."""
        self.operator.folder.mkdir(parents=True, mode=0o755)
        self.set_up()
        modes = {path.name: path.stat().st_mode & 0o777 for path in (self.operator.folder, *self.files())}
        self.assertEqual(modes, {"dokku": 0o700, "config.json": 0o600, "lock": 0o600})
        self.assertEqual(self.kept()["settings"]["AWS_SECRET_ACCESS_KEY"], SECRET)

    def files(self):
        return self.operator.folder.iterdir()

    def test_defaults(self) -> None:
        """What nobody says is the older software's default, and this version."""
        self.set_up()
        kept = self.kept()
        self.assertEqual(
            (kept["host"], kept["app"], kept["branch"], kept["image"], kept["version"]),
            ("dokku.test", "stor", "master", "stor", __version__),
        )
        self.assertEqual(kept["settings"]["S3_PREFIX"], "memory")
        self.assertEqual(kept["settings"]["AWS_REGION"], "us-east-1")

    def test_missing(self) -> None:
        """With --yes all that is missing is named at once, and nothing is kept."""
        said = self.fails(1, "setup", "dokku.test", "--yes", S3_BUCKET="blobs", AWS_SECRET_ACCESS_KEY=SECRET)
        self.assertIn("AWS_ACCESS_KEY_ID, HEARE_AUTH_URL (it may be empty)", said)
        self.assertNotIn(SECRET, said)
        self.assertFalse((self.operator.folder / "config.json").exists())

    def test_made_key(self) -> None:
        """Without an auth service and without keys one key is made, and not shown."""
        ended = self.operator.run("setup", "dokku.test", "--yes", S3_BUCKET="", HEARE_AUTH_URL="")
        key = self.kept()["settings"]["API_KEYS"]
        self.assertRegex(key, r"^stor_[\w-]{43}$")
        self.assertNotIn(key, ended.stdout + ended.stderr)

    def test_keeps(self) -> None:
        """A second time nothing is asked that is known, and what the environment says anew counts."""
        self.set_up("--app", "memory")
        self.operator.run("setup", "other.test", "--yes", S3_BUCKET="elsewhere")
        kept = self.kept()
        self.assertEqual((kept["host"], kept["app"]), ("other.test", "memory"))
        self.assertEqual(kept["settings"], self.kept()["settings"] | {"S3_BUCKET": "elsewhere", **ONLY_SECRETS})

    def test_wrong(self) -> None:
        """A name that ssh, git or Dokku could misread is refused, and so is a password in a URL."""
        for words in (("--", "-oProxyCommand=x"), ("a b",), ("h", "--app", "A"), ("h", "--branch", "--mirror")):
            self.assertIn("is no name of a", self.fails(1, "setup", "--yes", *words, **BUCKET))
        said = self.fails(1, "setup", "h", "--yes", **BUCKET | {"HEARE_AUTH_URL": "https://u:p-secret@h.test"})
        self.assertEqual(said, "stor: HEARE_AUTH_URL must not hold a user or a password\n")

    def test_asks(self) -> None:
        """On a terminal it asks for what is missing; secrets are not echoed, and a wrong answer is asked again."""
        answers = ["blobs", "not-a-url", "https://s3.example.test", "", "", ACCESS, SECRET, "", "key-one,key-two", ""]
        said = self.on_a_terminal(answers, "setup", "dokku.test")
        self.assertIn("S3_ENDPOINT_URL is no http:// or https:// URL", said)
        self.assertNotIn(SECRET, said)
        self.assertNotIn("key-one", said)
        settings = self.kept()["settings"]
        self.assertEqual(settings["AWS_SECRET_ACCESS_KEY"], SECRET)
        self.assertEqual((settings["AWS_REGION"], settings["S3_PREFIX"]), ("us-east-1", "memory"))
        self.assertEqual((settings["HEARE_AUTH_URL"], settings["API_KEYS"]), ("", "key-one,key-two"))
        self.assertIn("kept in", self.on_a_terminal([], "setup", "dokku.test"))

    def test_offers(self) -> None:
        """What the environment has is offered, a secret without being shown, and only taken when accepted."""
        said = self.on_a_terminal(["", "-", "", "", "my-access", "", "-", "", ""], "setup", "h", **BUCKET)
        self.assertIn("[blobs]", said)
        self.assertNotIn(SECRET, said)
        settings = self.kept()["settings"]
        self.assertEqual((settings["S3_BUCKET"], settings["AWS_SECRET_ACCESS_KEY"]), ("blobs", SECRET))
        self.assertEqual((settings["S3_ENDPOINT_URL"], settings["AWS_ACCESS_KEY_ID"]), ("", "my-access"))
        self.assertNotIn("HEARE_AUTH_APP_ID", settings)

    def on_a_terminal(self, answers: list[str], *words: str, **extra: str) -> str:
        """Type `answers`, one at each prompt, on a terminal; give all that stood on it."""
        pid, terminal = pty.fork()
        if pid == 0:
            argv = [sys.executable, "-c", COMMAND, "dokku", *words]
            os.execve(argv[0], argv, self.operator.environ(**extra))  # noqa: S606 - only a fork gets the terminal
        said, left = b"", list(answers)
        while select.select([terminal], [], [], 20)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # the other side has left
                break
            said += data
            if left and said.endswith(b": "):
                os.write(terminal, left.pop(0).encode() + b"\n")
        os.close(terminal)
        self.assertEqual((os.waitpid(pid, 0)[1], left), (0, []), said)
        return said.decode()


ONLY_SECRETS = {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ACCESS_KEY_ID": ACCESS}


class DeployTests(DokkuCase):
    def test_first(self) -> None:
        """The app is made, told its settings, built from a pinned version, and waited for."""
        self.host.write(health=[1, 1, 0])
        self.set_up()
        said = self.well("deploy")
        self.assertIn("stor: ready (200)\nhttp://stor.example.test\n", said)
        app = self.host.app
        self.assertEqual(
            app["config"], BUCKET | {"AWS_REGION": "us-east-1", "S3_PREFIX": "memory", "LOG_LEVEL": "info"}
        )
        self.assertEqual(app["done"], ["ports:set stor http:80:8080", "nginx:set stor client-max-body-size 0"])
        self.assertEqual(app["mounts"], [])
        self.assertIn(f"FROM stor:{__version__}\n", self.host.show("master", "Dockerfile"))
        (check,) = json.loads(self.host.show("master", "app.json"))["healthchecks"]["web"]
        self.assertEqual((check["path"], check["port"]), ("/readyz", 8080))

    def test_no_secret_is_seen(self) -> None:
        """Neither in the argv of any process, nor in a child's environment, nor in what is printed or pushed."""
        (self.host.folder / "leak").write_text(f"key={SECRET}\n")
        self.set_up()
        ended = self.operator.run("deploy", **BUCKET)
        self.assertEqual(ended.returncode, 0)
        said = ended.stdout + ended.stderr + self.well("status")
        seen = [str(call["argv"]) + str(call["environ"]) for call in self.host.calls]
        pushed = self.host.show("master", "Dockerfile") + self.host.show("master", "app.json")
        for text in (said, pushed, *seen):
            for form in FORBIDDEN:
                self.assertNotIn(form, text)
        self.assertIn("key=***", said)
        modes = [call["file_mode"] for call in self.host.calls if "file_mode" in call]
        self.assertEqual(modes, ["0o600"])
        self.assertEqual([path.name for path in self.operator.folder.glob(".*")], [])

    def test_errors_hide_secrets(self) -> None:
        """A host that repeats what it was told is quoted without it."""
        self.set_up()
        self.host.write(config_fails=True)
        said = self.fails(1, "deploy")
        self.assertIn("dokku config:set on dokku@dokku.test: !     cannot write", said)
        for form in FORBIDDEN:
            self.assertNotIn(form, said)

    def test_again(self) -> None:
        """Nothing new: it is built again with the settings; a setting that is no more is taken away."""
        self.set_up()
        self.well("deploy")
        self.operator.run("setup", "dokku.test", "--yes", HEARE_AUTH_URL="", API_KEYS="k")
        self.assertIn("it is there already", self.well("deploy"))
        app = self.host.app
        self.assertEqual(app["config"]["API_KEYS"], "k")
        self.assertEqual({"HEARE_AUTH_URL", "HEARE_AUTH_APP_ID"} & app["config"].keys(), set())
        self.assertEqual(app["done"][2:], ["ps:rebuild stor"])

    def test_branch(self) -> None:
        """The host deploys the branch that was named."""
        self.set_up("--branch", "live", "--image", "registry.test/stor")
        self.well("deploy")
        self.assertEqual(self.host.app["branch"], "live")
        self.assertIn("FROM registry.test/stor:", self.host.show("live", "Dockerfile"))

    def test_upgrade(self) -> None:
        """Another version is pushed on top, kept once it is there, and refused when it cannot be built."""
        self.set_up()
        self.well("deploy")
        self.well("upgrade", "0.9.1")
        self.assertIn("FROM stor:0.9.1\n", self.host.show("master", "Dockerfile"))
        said = self.operator.run("upgrade", "broken")
        self.assertEqual(said.returncode, 1)
        self.assertIn("Building FROM stor:broken", said.stdout)
        self.assertIn("the push to dokku@dokku.test:stor failed", said.stderr)
        self.assertIn("FROM stor:0.9.1\n", self.host.show("master", "Dockerfile"))
        self.assertIn("stor:0.9.1", self.well("status"))
        self.assertIn("it is there already", self.well("deploy"))

    def test_unwell(self) -> None:
        """Deployed but not ready is an exit code of its own."""
        self.set_up()
        self.well("deploy")
        self.host.write(health=[1])
        ended = self.operator.run("status")
        self.assertEqual(ended.returncode, 3)
        self.assertIn("not ready (503)", ended.stdout)

    def test_down(self) -> None:
        """A host that cannot be reached is one line, without secrets."""
        self.set_up()
        self.host.write(down=SECRET)
        said = self.fails(1, "deploy")
        self.assertEqual(
            said, "stor: dokku@dokku.test: ssh: connect to host dokku@dokku.test: Connection refused ***\n"
        )

    def test_old(self) -> None:
        """A Dokku that does not know our commands is told so before anything is changed."""
        self.set_up()
        self.host.write(version="0.30.9")
        self.assertIn("has Dokku 0.30.9; 0.31 or newer is needed", self.fails(1, "deploy"))
        self.assertEqual(self.host.words(), ["version"])

    def test_another_machine(self) -> None:
        """A second operator goes on from what the first deployed."""
        self.set_up()
        self.well("deploy")
        self.operator = Operator(self, self.host)
        self.set_up("--version", "0.9.2")
        self.well("deploy")
        self.assertIn("FROM stor:0.9.2\n", self.host.show("master", "Dockerfile"))
        self.assertEqual(self.commits(), 2)

    def commits(self) -> int:
        argv = ["git", "-C", str(self.host.folder / "repositories" / "stor"), "rev-list", "--count", "master"]
        return int(subprocess.run(argv, capture_output=True, check=True).stdout)

    def test_foreign(self) -> None:
        """An app of that name that is not stor's is left alone: neither its code nor its settings are touched."""
        self.set_up()
        self.well("deploy")
        self.overwrite_app_json()
        self.operator = Operator(self, self.host)
        self.settings = BUCKET | {"S3_BUCKET": "other"}
        self.set_up()
        self.assertIn("is another app, not stor's", self.fails(1, "deploy"))
        self.assertEqual(self.host.app["config"]["S3_BUCKET"], "blobs")

    def overwrite_app_json(self) -> None:
        repository = self.host.folder / "repositories" / "stor"
        script = """
            blob=$(echo '{"name": "blog"}' | git hash-object -w --stdin)
            tree=$(printf '100644 blob %s\\tapp.json\\n' "$blob" | git mktree)
            git update-ref refs/heads/master "$(git -c user.name=a -c user.email=b commit-tree -m other "$tree")"
        """
        subprocess.run(["sh", "-ec", script], cwd=repository, check=True, capture_output=True)

    def test_not_set_up(self) -> None:
        """Before `setup` there is nothing to deploy."""
        for words in (("deploy",), ("status",), ("upgrade", "1.0")):
            self.assertIn("run `stor dokku setup HOST` first", self.fails(1, *words))


class LocalTests(DokkuCase):
    settings = LOCAL

    def test_volume(self) -> None:
        """Without a bucket the data is on a volume, mounted once, and one container at a time has it."""
        self.set_up()
        self.well("deploy")
        self.well("upgrade", "0.9.1")
        app = self.host.app
        self.assertEqual(app["mounts"], ["stor-data:/data"])
        self.assertIn("checks:disable stor web", app["done"])
        self.assertNotIn("AWS_REGION", app["config"])
        self.assertEqual(app["config"]["API_KEYS"], LOCAL["API_KEYS"])


class StatusTests(DokkuCase):
    def test_table(self) -> None:
        """What is configured, deployed and running; secrets hidden."""
        self.set_up()
        self.well("deploy")
        rows = dict(line.split(maxsplit=1) for line in self.well("status").splitlines() if len(line.split()) > 1)
        rows = {name: value.strip() for name, value in rows.items()}
        self.assertEqual(rows["deployed"], "as kept here")
        self.assertEqual((rows["running"], rows["health"]), ("true", "ready (200)"))
        self.assertEqual((rows["AWS_SECRET_ACCESS_KEY"], rows["AWS_ACCESS_KEY_ID"]), ("***", "***"))
        self.assertEqual(rows["S3_BUCKET"], "blobs")

    def test_nothing_there(self) -> None:
        """Before the first deploy: not well, and nothing is made here or there."""
        self.set_up()
        self.assertEqual(self.operator.run("status").returncode, 3)
        self.assertEqual(self.host.words(), ["apps:exists"])
        self.assertFalse((self.operator.folder / "app").exists())
