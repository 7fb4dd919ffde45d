"""Secrets are taken out of every text that people see."""

import json
from base64 import b64encode
from collections.abc import Collection, Mapping
from urllib.parse import quote

from stor.dokku.questions import SECRETS

HIDDEN = "***"


def secrets_of(settings: Mapping[str, str]) -> frozenset[str]:
    """All that must not be seen: the secret settings, and each part of those that are lists."""
    values = [settings[name] for name in SECRETS if settings.get(name)]
    parts = [part.strip() for value in values for part in value.split(",")]
    return frozenset(filter(None, (*values, *parts)))


def shown(settings: Mapping[str, str]) -> dict[str, str]:
    """Give the settings as they may be seen."""
    return {name: HIDDEN if name in SECRETS and value else value for name, value in settings.items()}


def redacted(text: str, secrets: Collection[str]) -> str:
    """Give `text` without any of `secrets`, as they are or in a form in which they travel."""
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):  # a secret may hold another one
        text = text.replace(form, HIDDEN)
    return text


def _forms(secret: str) -> tuple[str, ...]:
    return (secret, b64encode(secret.encode()).decode(), json.dumps(secret)[1:-1], quote(secret, safe=""))
