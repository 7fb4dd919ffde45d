"""Settings one by one, each with where it came from; unknown keys are told with what was meant."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, get_origin

from msgspec import Struct
from msgspec.structs import fields

from stor.config.secret import Secret
from stor.config.shape import Config, User
from stor.errors import ConfigError

Path = tuple[str, ...]

IMPLIED, FILE, OLDER, STOR = range(4)  # ranks: each stands above those before it


class Setting(NamedTuple):
    """A value as it was found, where, and how much that counts."""

    value: Any
    origin: str
    rank: int


Settings = dict[Path, Setting]


def from_file(tree: Mapping[str, Any], name: str) -> Settings:
    """The settings of a TOML file."""
    return {path: Setting(value, name, FILE) for path, value in leaves(tree, Config, (), name)}


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings in names such as STOR_REDIS__PORT; lists are separated by commas.

    Of names without `__` only those of top-level keys are ours: for a service named "stor" Kubernetes
    sets STOR_SERVICE_HOST, STOR_PORT and more.
    """
    found: Settings = {}
    top = {field.name for field in fields(Config)}
    for name, text in environ.items():
        path = tuple(name.removeprefix("STOR_").lower().split("__"))
        if not name.startswith("STOR_") or (len(path) == 1 and path[0] not in top):
            continue
        tree: Any = text
        for key in reversed(path):
            tree = {key: tree}
        for place, _ in leaves(tree, Config, (), f"environment {name}"):
            found[place] = Setting(listed(place, text), f"environment {name}", STOR)
    return found


def leaves(tree: Any, kind: type[Struct], place: Path, source: str) -> Iterator[tuple[Path, Any]]:
    """Each key of `tree` that holds a value; ConfigError for keys and tables that do not fit `kind`."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{source}: {dotted(place)} is a section, not a value")
    known = {field.name: field.type for field in fields(kind)}
    for key, value in tree.items():
        path = (*place, key)
        if key not in known:
            raise ConfigError(f"{source}: unknown key {dotted(path)}{meant(key, known, place)}")
        if is_section(known[key]):
            yield from leaves(value, known[key], path, source)
        elif key == "users":
            yield from _users(value, path, source)
        else:
            yield path, value


def _users(tree: Any, place: Path, source: str) -> Iterator[tuple[Path, Any]]:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{source}: {dotted(place)} is a section, not a value")
    for name, user in tree.items():
        yield from leaves(user, User, (*place, name), source)


def kind_of(path: Path) -> type[Struct]:
    """The section that holds the last key of `path`."""
    kind: Any = Config
    for key in path[:-1]:
        if kind is not User:
            known = {field.name: field.type for field in fields(kind)}
            kind = known.get(key, User) if key != "users" else User
    return kind  # type: ignore[no-any-return]


def listed(path: Path, text: str) -> str | list[str]:
    """`text` as a list where a list is wanted."""
    wanted = {field.name: field.type for field in fields(kind_of(path))}[path[-1]]
    if get_origin(wanted) is not tuple:
        return text
    return [part.strip() for part in text.split(",") if part.strip()]


def is_section(kind: Any) -> bool:
    """Whether `kind` is a section of its own."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def is_secret(kind: Any) -> bool:
    """Whether `kind` holds a secret, or nothing."""
    return Secret in getattr(kind, "__args__", ())


def meant(key: str, known: Mapping[str, Any], place: Path) -> str:
    """A guess for whoever mistyped `key`."""
    close = get_close_matches(key, known, n=1)
    return f", did you mean {dotted((*place, close[0]))}?" if close else ""


def dotted(path: Path) -> str:
    """`redis.limits.connections`."""
    return ".".join(path)
