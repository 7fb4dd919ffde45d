"""The database, from its settings."""

from typing import Any

from stor.config import Config
from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite


def database_of(config: Config, reactor: Any) -> Sqlite | Postgres:
    """PostgreSQL where a URL names one, else a file in the data folder."""
    url = config.database.url
    return Sqlite(config.data / "stor.db", reactor) if url is None else Postgres(url.reveal(), reactor)
