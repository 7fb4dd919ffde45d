"""What a deployment must be told: the settings of the older service, by their names in the environment; pure."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from stor.errors import BadRequest, ConfigError

LEVELS = ("debug", "info", "warn", "warning", "error", "critical")


def _any(value: str) -> None:
    """Nothing more is asked of it."""


def _url(value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password")  # it is shown by `status`


def _level(value: str) -> None:
    if value.lower() not in LEVELS:
        raise ValueError(f"is none of {', '.join(LEVELS)}")


def new_key() -> str:
    """Make an API key: 256 random bits behind a prefix that says whose it is."""
    return f"stor_{secrets.token_urlsafe(32)}"


@dataclass(frozen=True, slots=True)
class Question:
    """One setting: `text` for people, and what it is when nobody says.

    Without a `default` it must be said, though perhaps as empty (`may_be_empty`). With `after`, it is asked only
    when that other setting was said to be something; with `instead_of`, only when it was said to be empty.
    An empty answer is what `made` makes.
    """

    name: str
    text: str
    default: str | None = None
    is_secret: bool = False
    may_be_empty: bool = False
    after: str | None = None
    instead_of: str | None = None
    made: Callable[[], str] | None = None
    check: Callable[[str], None] = _any

    def applies(self, answers: Mapping[str, str]) -> bool:
        """Whether it makes sense after these answers."""
        if self.after is not None:
            return bool(answers.get(self.after))
        return self.instead_of is None or answers.get(self.instead_of) == ""

    def checked(self, value: str) -> str:
        """Give the value as it is kept; BadRequest, which does not show it, when it will not do."""
        value = value.strip() or (self.made() if self.made else "")
        if not value and not self.may_be_empty:
            raise BadRequest(f"{self.name} must not be empty")
        if re.search(r"[\x00-\x1f\x7f]", value):
            raise BadRequest(f"{self.name} holds a control character")
        try:
            if value:
                self.check(value)
        except ValueError as why:
            raise BadRequest(f"{self.name} {why}") from None
        return value


QUESTIONS = (
    Question("S3_BUCKET", "S3 bucket that keeps the blobs; empty: a volume of the host", may_be_empty=True),
    Question(
        "S3_ENDPOINT_URL", "URL of the S3 service; empty: AWS", "", after="S3_BUCKET", may_be_empty=True, check=_url
    ),
    Question("AWS_REGION", "Region of the bucket", "us-east-1", after="S3_BUCKET"),
    Question("S3_PREFIX", "Prefix of all keys in the bucket", "memory", after="S3_BUCKET"),
    Question("AWS_ACCESS_KEY_ID", "Access key", is_secret=True, after="S3_BUCKET"),
    Question("AWS_SECRET_ACCESS_KEY", "Secret key", is_secret=True, after="S3_BUCKET"),
    Question("HEARE_AUTH_URL", "URL of the auth service; empty: API keys instead", may_be_empty=True, check=_url),
    Question("HEARE_AUTH_APP_ID", "Name that the auth service knows this app by", after="HEARE_AUTH_URL"),
    Question(
        "API_KEYS",
        "API keys, with commas between them; empty: one is made",
        "",
        is_secret=True,
        instead_of="HEARE_AUTH_URL",
        made=new_key,
    ),
    Question("LOG_LEVEL", "Which log lines are written", "info", check=_level),
)
SECRETS = frozenset(question.name for question in QUESTIONS if question.is_secret)


def answered(
    kept: Mapping[str, str], environ: Mapping[str, str], ask: Callable[[Question, str | None], str] | None
) -> dict[str, str]:
    """Give all settings that apply.

    With `ask`, people are asked for what is not kept, or is said otherwise by the environment; they are offered
    what the environment says, or the default. Without it the environment is believed, then what is kept, then
    the default; ConfigError names all that is missing.
    """
    answers: dict[str, str] = {}
    missing: list[str] = []
    for question in QUESTIONS:
        if not question.applies(answers):
            continue
        offered = environ.get(question.name, question.default)
        known = kept.get(question.name)
        if known is not None and environ.get(question.name, known) == known:
            value: str | None = known
        else:
            value = ask(question, offered) if ask else offered
        if value is None:
            missing.append(question.name + (" (it may be empty)" if question.may_be_empty else ""))
        else:
            answers[question.name] = question.checked(value)
    if missing:
        raise ConfigError(f"not said, neither by the environment nor before: {', '.join(missing)}")
    return answers
