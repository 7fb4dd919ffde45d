"""Marks of parameters: we write `?`, PostgreSQL's driver wants `%s`."""

from functools import lru_cache


@lru_cache(maxsize=1024)  # statements are constants of the program
def marked(sql: str) -> str:
    """Translate a statement whose literals hold no `?`."""
    return sql.replace("%", "%%").replace("?", "%s")
