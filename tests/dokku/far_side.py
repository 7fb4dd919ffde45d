# ruff: noqa: T201 - a command of Dokku prints what it has to say
"""Stands in for ssh to a Dokku host: $FAKE_DOKKU holds its state, its repositories, and what was seen of its callers.

It does what Dokku does for the commands that stor uses, on real bare repositories, and refuses all others.
"""

import base64
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

HOME = Path(os.environ["FAKE_DOKKU"])
HOOK = """\
#!/bin/sh
read -r old new ref
echo "-----> Building $(git show "$new:Dockerfile" | grep FROM)"
cat "$FAKE_DOKKU/leak" 2>/dev/null
! git show "$new:Dockerfile" | grep -q broken
"""


def main() -> int:
    seen = {"argv": [*lines_of_ps()], "environ": dict(os.environ)}
    target, words = called(sys.argv[1:], seen)
    seen |= {"target": target, "words": words}
    with (HOME / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(seen) + "\n")
    state = json.loads((HOME / "state.json").read_text())
    if state.get("down"):
        print(f"ssh: connect to host {target}: Connection refused {state['down']}", file=sys.stderr)
        return 255
    code = Host(state).run(words)
    (HOME / "state.json").write_text(json.dumps(state))
    return code


def lines_of_ps():
    """The argv of this process and of all above it that the command line tool started, as `ps` shows them."""
    pid = os.getpid()
    while pid > 1:
        yield Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def called(argv, seen):
    """Read argv as ssh does: options, target, words; the words come from the file of -F when there are none."""
    file = None
    while argv[0].startswith("-"):
        option = argv.pop(0)
        value = argv.pop(0) if option in ("-o", "-F", "-p") else None
        file = Path(value) if option == "-F" else file
    target, words = argv[0], [word for word in argv[1:] if word != "--"]
    if file is not None and not words:
        seen["file_mode"] = oct(file.stat().st_mode & 0o777)
        words = [line.split(" ", 1)[1] for line in file.read_text().splitlines() if line.startswith("RemoteCommand ")]
    return target, shlex.split(" ".join(words))


class Host:
    def __init__(self, state):
        self.state, self.apps = state, state["apps"]

    def run(self, words):
        name, *rest = words
        if name.startswith("git-"):
            return self.git(name, rest[0])
        found = getattr(self, name.replace(":", "_").replace("-", "_"), None)
        if found is None:
            return self.fail(f"`{name}` is not a dokku command.")
        if name not in ("version", "apps:exists", "apps:create"):
            app = next((word for word in rest if not word.startswith("--")), "")
            if app not in self.apps:
                return self.fail(f"App {app} does not exist", 20)
        return found(*rest) or 0

    def fail(self, text, code=1):
        print(f" !     {text}", file=sys.stderr)
        return code

    def version(self):
        print(f"dokku version {self.state['version']}")

    def apps_exists(self, app):
        return 0 if app in self.apps else self.fail(f"App {app} does not exist", 20)

    def apps_create(self, app):
        self.apps[app] = {"config": {}, "deployed": False, "mounts": [], "done": []}

    def ps_report(self, app, flag):
        print({"--deployed": json.dumps(self.apps[app]["deployed"]), "--running": self.state["running"]}[flag])

    def done(self, *words):
        self.apps[words[1]]["done"].append(" ".join(words))

    def ports_set(self, app, *ports):
        self.done("ports:set", app, *ports)

    def git_set(self, app, name, value):
        self.apps[app]["branch"] = value

    def nginx_set(self, app, name, value):
        self.done("nginx:set", app, name, value)

    def checks_disable(self, app, process):
        self.done("checks:disable", app, process)

    def storage_list(self, app):
        print(f"{app} volume bind-mounts:", *self.apps[app]["mounts"], sep="\n")

    def storage_mount(self, app, mount):
        if mount in self.apps[app]["mounts"]:
            return self.fail("Mount path already exists.")
        self.apps[app]["mounts"].append(mount)
        return 0

    def config_set(self, *words):
        restart, encoded, app, *pairs = words
        assert (restart, encoded) == ("--no-restart", "--encoded")
        values = {name: base64.b64decode(value).decode() for name, value in (pair.split("=", 1) for pair in pairs)}
        self.apps[app]["config"] |= values
        for name, value in values.items():  # as the real one does
            print(f"       {name}:  {value}")
        if self.state.get("config_fails"):
            return self.fail(f"cannot write {' '.join(pairs)} {values}")
        return 0

    def config_keys(self, app):
        print(*self.apps[app]["config"], sep="\n")

    def config_unset(self, restart, app, *names):
        assert restart == "--no-restart"
        for name in names:
            del self.apps[app]["config"][name]

    def ps_rebuild(self, app):
        self.done("ps:rebuild", app)

    def enter(self, app, process, *command):
        assert (process, *command) == ("web", "stor", "health")
        health = self.state["health"]
        code = health.pop(0) if len(health) > 1 else health[0]
        print("ready (200)" if code == 0 else "not ready (503)", file=sys.stderr if code else sys.stdout)
        return code

    def git_report(self, app, flag):
        assert flag == "--git-sha"
        print(self.apps[app].get("sha", "")[:8])

    def urls(self, app):
        print(f"http://{app}.example.test")

    def git(self, name, app):
        path, here = HOME / "repositories" / app, self.apps[app]
        if not path.exists():
            subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
            (path / "hooks").mkdir(exist_ok=True)
            (path / "hooks" / "pre-receive").write_text(HOOK)
            (path / "hooks" / "pre-receive").chmod(0o755)
        code = subprocess.run([*name.split("-", 1), str(path)], check=False).returncode
        ref = path / "refs" / "heads" / here["branch"]
        if ref.exists():
            here["sha"], here["deployed"] = ref.read_text().strip(), True
        return code


sys.exit(main())
