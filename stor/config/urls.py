"""Redis URLs, read exactly and never shown: `redis[s]://[user][:password]@host[:port][/database]`."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from stor.config.secret import Secret

PORT = 6379
NOTHING = Secret("")


@dataclass(frozen=True)
class RedisUrl:
    """Where a Redis is, how to prove ourselves to it, and how it proves itself to us."""

    host: str
    port: int = PORT
    tls: bool = False
    username: str = ""
    password: Secret = NOTHING
    database: int = 0
    ca_file: Path | None = None
    insecure_skip_verify: bool = False

    def text(self) -> Secret:
        """The same as a URL, percent-encoded."""
        login = f"{quote(self.username, safe='')}:{quote(self.password.reveal(), safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = "?insecure_skip_verify=true" if self.insecure_skip_verify else ""
        scheme = "rediss" if self.tls else "redis"
        return Secret(f"{scheme}://{login if login != ':@' else ''}{host}:{self.port}/{self.database}{query}")


def redis_address(url: Secret, *, ca_file: Path | None = None, insecure_skip_verify: bool = False) -> RedisUrl:
    """Read `url`, which may also ask for `insecure_skip_verify` itself.

    ValueError says which part is wrong without showing any of it.

    Python's own errors are not passed on: with an unescaped `/` or `?` in the password they quote it.
    """
    try:
        parts = urlsplit(url.reveal())
        if parts.scheme not in {"redis", "rediss"}:
            raise _Unreadable("a Redis URL must begin with redis:// or rediss://")  # noqa: TRY301 - see below
        port, username, password = parts.port, _plain(parts.username), _plain(parts.password)
        host, database, insecure = _plain(parts.hostname), _database(parts.path), _insecure(parts.query)
    except _Unreadable as why:
        raise ValueError(str(why)) from None
    except ValueError:
        raise ValueError("a Redis URL whose host or port cannot be read (is the password %-encoded?)") from None
    if not host:
        raise ValueError("a Redis URL without a host")
    if parts.fragment:
        raise ValueError("a Redis URL with a `#` (is the password %-encoded?)")
    return RedisUrl(
        host=host,
        port=PORT if port is None else port,
        tls=parts.scheme == "rediss",
        username=username,
        password=Secret(password),
        database=database,
        ca_file=ca_file,
        insecure_skip_verify=insecure or insecure_skip_verify,
    )


class _Unreadable(ValueError):
    """Its message is ours, so it may be shown."""


def _plain(part: str | None) -> str:
    return unquote(part or "", errors="strict")


def _database(path: str) -> int:
    number = path.removeprefix("/") or "0"
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        raise _Unreadable("a Redis URL whose path is no database number")
    return int(number)


def _insecure(query: str) -> bool:
    options = dict(parse_qsl(query, keep_blank_values=True))
    value = options.pop("insecure_skip_verify", "false").lower()
    if options or value not in {"", "1", "true", "0", "false"}:
        raise _Unreadable("a Redis URL with an unknown option; only insecure_skip_verify=true is known")
    return value in {"", "1", "true"}
