"""From a file and the environment to one Config."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, ValidationError, convert
from msgspec.structs import fields, replace

from stor.config.dotenv import parse_dotenv
from stor.config.older import from_older, implied, with_parts
from stor.config.secret import Secret
from stor.config.shape import Config
from stor.config.sources import (
    Setting,
    Settings,
    dotted,
    from_environment,
    from_file,
    is_secret,
    is_section,
    kind_of,
)
from stor.errors import ConfigError

SECRET_BYTES = 65_536


class Shown(NamedTuple):
    """A setting as an operator may see it."""

    key: str
    value: str
    origin: str


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read `path` (None: defaults only) and `environ`; ConfigError says what is wrong, and where.

    STOR_* names stand above the older names, and both above the file. A `.env` beside the file is read
    as if it were the environment, which stands above it.
    """
    return _convert(_settings(path, environ))


def explain(path: Path | None, environ: Mapping[str, str]) -> list[Shown]:
    """Each key, its effective value with secrets hidden, and where that came from."""
    settings = _settings(path, environ)
    config = _convert(settings)
    return [
        Shown(dotted(place), _shown(value), settings[place].origin if place in settings else "default")
        for place, value in _values(config, ())
    ]


def _settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """All that was said, with the secrets read from their files."""
    environ = _dotenv(path.parent if path else Path()) | dict(environ)
    settings = implied(environ)
    settings |= {} if path is None else from_file(_toml(path), str(path))
    settings |= from_older(environ)
    settings |= from_environment(environ)
    _read_secrets(settings)
    with_parts(settings, environ)
    return settings


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise ConfigError(f"{path}: {why}") from None


def _dotenv(folder: Path) -> dict[str, str]:
    try:
        return parse_dotenv((folder / ".env").read_text())
    except FileNotFoundError:
        return {}
    except OSError as why:
        raise ConfigError(f"{folder / '.env'}: {why.strerror}") from None
    except ValueError as why:
        raise ConfigError(f"{folder / '.env'}: {why}") from None


def _read_secrets(settings: Settings) -> None:
    """Where `password_file` says more than `password`, read it."""
    for path, setting in list(settings.items()):
        place = (*path[:-1], path[-1].removesuffix("_file"))
        kinds = {field.name: field.type for field in fields(kind_of(path))}
        if place == path or not is_secret(kinds.get(place[-1])):
            continue
        rival = settings.get(place)
        if rival is not None and rival.rank == setting.rank:
            raise ConfigError(f"{dotted(place)} and {dotted(path)} are both set; one is enough")
        if rival is None or rival.rank < setting.rank:
            settings[place] = Setting(_secret(path, setting), setting.origin, setting.rank)


def _secret(path: tuple[str, ...], setting: Setting) -> str:
    """The text in a secret's file, without the newline that editors leave."""
    try:
        with Path(setting.value).open("rb") as file:
            return file.read(SECRET_BYTES).decode().rstrip("\r\n")
    except OSError as why:
        raise ConfigError(f"{dotted(path)} ({setting.origin}): {setting.value}: {why.strerror}") from None
    except (UnicodeDecodeError, TypeError):
        raise ConfigError(f"{dotted(path)} ({setting.origin}): cannot be read as text") from None


def _convert(settings: Settings) -> Config:
    tree: dict[str, Any] = {}
    for path, setting in settings.items():
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = setting.value
    try:
        config = convert(tree, Config, strict=False, dec_hook=_special)
    except ValidationError as why:
        raise ConfigError(_placed(str(why), settings)) from None
    if config.redis.host == "::" and not config.redis.ipv6:
        config = replace(config, redis=replace(config.redis, host="0.0.0.0"))  # noqa: S104 - it was asked for
    return config


def _special(kind: type, value: object) -> object:
    """What msgspec does not know: paths and secrets, both texts and never empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("Expected a text that is not empty")
    return kind(value)


def _placed(why: str, settings: Settings) -> str:
    """`redis.port (environment PROXY_PORT): Expected `int`` rather than msgspec's own order."""
    match = re.fullmatch(r"(?s)(.*) - at `\$\.?(.*)`", why)
    if match is None:
        return why
    setting = settings.get(tuple(match[2].split(".")))
    return f"{match[2]}{f' ({setting.origin})' if setting else ''}: {match[1]}"


def _values(section: Struct, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for field in fields(section):
        value, path = getattr(section, field.name), (*place, field.name)
        if is_section(type(value)):
            yield from _values(value, path)
        elif field.name == "users":
            for name, user in value.items():
                yield from _values(user, (*path, name))
        else:
            yield path, value


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
