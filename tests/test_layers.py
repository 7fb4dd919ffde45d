"""Who may import whom."""

import ast
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
BASE = {"errors", "stack", "logs", "threads", "streams"}
GROUND = {  # each with the ground below it
    "children": set(),
    "database": set(),
    "storage": set(),
    "access": {"database"},
    "web": {"access"},
}
PARTS = {"redis", "volume", "blobs", "objects", "keyring"}
MAY = {
    "__init__": set(),
    "errors": set(),
    "stack": {"errors"},
    "logs": {"errors"},
    "threads": {"errors"},
    "streams": {"errors", "threads"},
    "config": {"errors"},
    "folder": {"errors"},
    **{room: BASE | below for room, below in GROUND.items()},
    **{room: BASE | GROUND.keys() for room in PARTS},
    "names": BASE,
    "house": BASE | {"config", "web"},
    "tour": BASE | {"children"},
    "assembly": BASE | GROUND.keys() | PARTS | {"config", "folder", "house", "names", "tour", "__init__"},
    "tap": BASE | {"config", "assembly", "__init__"},
    "client": BASE,
    "dokku": BASE,
    "cli": BASE | GROUND.keys() | PARTS | {"config", "client", "dokku", "folder", "assembly", "__init__"},
}
PURE = {
    "redis/resp.py",
    "redis/login.py",
    "redis/framer.py",
    "access/address.py",
    "access/passwords.py",
    "access/principal.py",
    "access/offers.py",
    "access/key.py",
    "access/known.py",
    "access/bounded.py",
    "access/presign.py",
    "volume/juicefs.py",
    "web/ranges.py",
    "web/conditions.py",
    "blobs/rules.py",
    "client/objects/names.py",
    "client/objects/wish.py",
    "objects/records.py",
    "objects/rules.py",
    "objects/ids.py",
    "objects/digests.py",
    "objects/resumable/records.py",
    "objects/resumable/rules.py",
    "client/paths.py",
    "dokku/questions.py",
    "dokku/secrecy.py",
    "client/dialects.py",
    "client/plan.py",
    "client/safety.py",
}
IO = {"asyncio", "http", "select", "selectors", "socket", "subprocess", "threading"}
PLAIN = sys.stdlib_module_names - IO | {"msgspec"}


def imported(path: Path) -> set[str]:
    """Dotted names; relative imports are not used here (ruff TID252)."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return names | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


def room_of(name: str) -> str:
    """The room that a dotted name of ours is in; what `stor` itself offers is in `__init__`."""
    room = name.removeprefix("stor").lstrip(".").split(".")[0]
    there = [place.name.removesuffix(".py") for place in (ROOT / "stor").iterdir()]
    return room if room in there else "__init__"


class LayerTests(SynchronousTestCase):
    def test_rooms(self) -> None:
        """Each room imports only what stands below it, and no part another part."""
        for path in sorted((ROOT / "stor").rglob("*.py")):
            room = path.relative_to(ROOT / "stor").parts[0].removesuffix(".py")
            self.assertIn(room, MAY, f"{path} is in no layer")
            for name in imported(path):
                if name.split(".")[0] == "stor":
                    self.assertIn(room_of(name), MAY[room] | {room}, f"{path} imports {name}")

    def test_pure(self) -> None:
        """What is pure knows values: the standard library without its I/O, msgspec, errors, what is pure."""
        pure = {"stor." + name.removesuffix(".py").replace("/", ".") for name in PURE}
        for file in PURE:
            for name in imported(ROOT / "stor" / file):
                ours = name.startswith("stor.errors.") or any(name.startswith(module + ".") for module in pure)
                self.assertTrue(ours or name.split(".")[0] in PLAIN, f"{file} imports {name}")
