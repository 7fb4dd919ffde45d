"""The files that others run us by say what the code says."""

import json
import re
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from stor.cli.health import URL
from stor.config import Config, load
from stor.config.dotenv import parse_dotenv
from stor.config.older import NAMES, PARTS
from stor.tap import Options
from stor.web.health import READY
from stor.web.metrics import Metrics
from stor.web.service import DRAIN_SECONDS

ROOT = Path(__file__).parents[1]
OLDER = {*NAMES, *PARTS}


def configured(environ: dict[str, str]) -> Config:
    """What stor makes of this environment, away from any `.env`; ConfigError for a name it does not know."""
    with TemporaryDirectory() as folder:
        empty = Path(folder) / "stor.toml"
        empty.touch()
        return load(empty, environ)


class Dockerfile:
    """Its instructions, as far as ours uses them: those of the last stage, and what is copied into any."""

    def __init__(self, text: str) -> None:
        joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
        found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
        self.instructions = [(name.upper(), rest.strip()) for name, rest in found]
        starts = [index for index, (name, _) in enumerate(self.instructions) if name == "FROM"]
        self.stages = len(starts)
        self.last = self.instructions[starts[-1] :]

    def one(self, name: str) -> str:
        """The last such instruction of the last stage, which is the one that counts."""
        return [rest for instruction, rest in self.last if instruction == name][-1]

    def argv(self, name: str) -> list[str]:
        """The exec form of an instruction, behind its options."""
        argv: list[str] = json.loads(self.one(name)[self.one(name).index("[") :])
        return argv

    def environment(self) -> dict[str, str]:
        """What ENV sets in the last stage."""
        pairs = [pair for name, rest in self.last if name == "ENV" for pair in rest.split()]
        return dict(pair.split("=", 1) for pair in pairs)

    def copied(self) -> list[str]:
        """What comes from our tree."""
        lines = [rest.split() for name, rest in self.instructions if name == "COPY" and "--from" not in rest]
        return [source for *sources, _ in lines for source in sources]


class DockerfileTests(SynchronousTestCase):
    """The image starts what we have, as nobody special, and can be asked how it is."""

    def setUp(self) -> None:
        self.file = Dockerfile((ROOT / "Dockerfile").read_text())

    def test_compiler_stays_behind(self) -> None:
        """Two stages, both on the Python that we promise to run on; the last one compiles nothing."""
        pythons = {rest.split()[0] for name, rest in self.file.instructions if name == "FROM"}
        self.assertEqual((self.file.stages, pythons), (2, {"python:3.11-slim-bookworm"}))
        self.assertNotIn("gcc", str(self.file.last))

    def test_not_root(self) -> None:
        """A user is made, and it is the one that runs."""
        made = [rest for name, rest in self.file.last if name == "RUN" and "useradd" in rest]
        self.assertEqual(self.file.one("USER"), "stor")
        self.assertRegex(made[0], r"useradd [^&]* stor ")

    def test_start(self) -> None:
        """An init in front, then twistd with options that stor's plugin takes, ended by SIGTERM."""
        self.assertEqual(self.file.argv("ENTRYPOINT")[0], "tini")
        program, *arguments = self.file.argv("CMD")
        self.assertEqual((program, arguments[:2]), ("twistd", ["-n", "--pidfile="]))
        options = Options()
        options.parseOptions(arguments[arguments.index("stor") + 1 :])
        self.assertEqual(options.subCommand, "run")
        self.assertEqual(self.file.one("STOPSIGNAL"), "SIGTERM")

    def test_health(self) -> None:
        """`stor health`, without options, asks the port and path where readiness is told."""
        self.assertEqual(self.file.argv("HEALTHCHECK"), ["stor", "health"])
        config = configured(self.file.environment())
        self.assertIn(URL, {f"http://127.0.0.1:{config.web.port}{path}" for path in READY})

    def test_ports(self) -> None:
        """What is exposed is what is listened on, by the environment that the image sets."""
        config = configured(self.file.environment() | {"PROXY_PASSWORD": "p"})
        self.assertEqual(self.file.one("EXPOSE").split(), [str(config.web.port), str(config.redis.port)])
        self.assertEqual((config.web.host, config.redis.host), ("0.0.0.0", "::"))

    def test_older_names_still_win(self) -> None:
        """PROXY_HOST and PROXY_IPV6 work in the image as they always did."""
        given = self.file.environment() | {"PROXY_IPV6": "false"}
        self.assertEqual(configured(given).redis.host, "0.0.0.0")
        given |= {"PROXY_HOST": "192.0.2.1"}
        self.assertEqual(configured(given).redis.host, "192.0.2.1")

    def test_copied(self) -> None:
        """All that the build copies exists, and .dockerignore lets that in and nothing else of ours."""
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
        self.assertIn("*", lines)
        self.assertEqual(let_in, set(self.file.copied()))
        self.assertEqual([name for name in let_in if not (ROOT / name).exists()], [])


class FlyTests(SynchronousTestCase):
    """fly.toml leads to the ports, paths and times that the image and the code have."""

    def setUp(self) -> None:
        self.file: dict[str, Any] = tomllib.loads((ROOT / "fly.toml").read_text())
        self.docker = Dockerfile((ROOT / "Dockerfile").read_text())
        self.config = configured(self.docker.environment() | self.file["env"])

    def test_http(self) -> None:
        """HTTP goes to our port, is asked for readiness, and never stops the machine for want of requests."""
        service = self.file["http_service"]
        self.assertEqual(service["internal_port"], self.config.web.port)
        self.assertEqual(service["auto_stop_machines"], "off")
        self.assertEqual({check["path"] in READY for check in service["checks"]}, {True})

    def test_redis(self) -> None:
        """Each public port leads to the proxy's and says who the client is, and we believe who says so."""
        (service,) = self.file["services"]
        self.assertEqual((service["protocol"], service["internal_port"]), ("tcp", self.config.redis.port))
        self.assertEqual(service["auto_stop_machines"], "off")
        for port in service["ports"]:
            self.assertEqual(port["handlers"][-1], "proxy_proto")
            self.assertEqual(port["proxy_proto_options"], {"version": "v2"})
        self.assertTrue(self.config.redis.proxy_protocol.trusted)
        self.assertIn(["tls", "proxy_proto"], [port["handlers"] for port in service["ports"]])

    def test_end(self) -> None:
        """Ended by the signal we drain on, and given longer than all drains one after another."""
        self.assertEqual(self.file["kill_signal"], self.docker.one("STOPSIGNAL"))
        self.assertGreater(self.file["kill_timeout"], self.config.redis.drain_seconds + DRAIN_SECONDS)
        self.assertLessEqual(self.file["kill_timeout"], 300)  # Fly's own limit

    def test_metrics(self) -> None:
        """Fly scrapes where the metrics are."""
        paths = {route.rule for route in Metrics(_Registry(), "0").routes()}
        self.assertEqual(self.file["metrics"]["port"], self.config.web.port)
        self.assertIn(self.file["metrics"]["path"], paths)

    def test_data(self) -> None:
        """The volume is mounted where the image keeps its data."""
        self.assertEqual(self.file["mounts"]["destination"], str(self.config.data))

    def test_no_secret(self) -> None:
        """Nothing that `fly secrets` should hold stands in the file."""
        self.assertEqual(secrets_in(self.file["env"]), [])


class EnvironmentTests(SynchronousTestCase):
    """.env.example and the guide name what exists, and nothing that must be kept secret."""

    def setUp(self) -> None:
        self.text = (ROOT / ".env.example").read_text()
        self.guide = (ROOT / "docs" / "deploying.md").read_text()

    def test_older_names(self) -> None:
        """All the older names are there, without values, and no other."""
        self.assertEqual(parse_dotenv(self.text), dict.fromkeys(OLDER, ""))

    def test_new_names(self) -> None:
        """The new names, commented out, are names of settings, and their values can be read."""
        examples = parse_dotenv("\n".join(re.findall(r"(?m)^# (STOR_\S+=.*)", self.text)))
        self.assertEqual(secrets_in(examples), [])
        with TemporaryDirectory() as folder:
            file = Path(folder) / "secret"
            file.write_text("redis://192.0.2.1")  # will do as a password, too
            files = {"STOR_REDIS__PASSWORD_FILE": str(file), "STOR_REDIS__URL_FILE": str(file)}
            self.assertLessEqual(files.keys(), examples.keys())
            config = configured(examples | files)
        self.assertEqual(config.redis.tls.port, 6380)

    def test_guide(self) -> None:
        """Each setting in docs/deploying.md exists, and those that must be told are told as secrets."""
        named = set(re.findall(r"\b(?:PROXY|REDIS|STORJ)_[A-Z0-9_]+", self.guide))
        told = set(re.findall(r"\b([A-Z0-9_]+)=\.\.\.", "".join(re.findall(r"fly secrets set.*", self.guide))))
        self.assertEqual(named - OLDER - {"PROXY_PROTOCOL__TRUSTED"}, set())
        self.assertEqual(told, {"PROXY_PASSWORD", "REDIS_URL", *(name for name in OLDER if "STORJ" in name)})

    def test_guide_user(self) -> None:
        """The user that the guide gives the volume to is the image's."""
        dockerfile = (ROOT / "Dockerfile").read_text()
        self.assertIn("--uid 10001", dockerfile)
        self.assertIn("10001", self.guide)
        self.assertIn("chown stor:stor /data", self.guide)


class _Registry:
    """Takes a collector as prometheus_client's own does."""

    def register(self, collector: object) -> None:
        """Forget it."""


def secrets_in(environ: dict[str, str]) -> list[str]:
    """Those names whose value would be a secret, and not just the name of a file that holds one."""
    return [name for name in environ if re.search(r"(PASSWORD|SECRET_KEY|ACCESS_KEY|URL)$", name)]
