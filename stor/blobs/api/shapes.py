"""The JSON of the sync API: files, and errors with their three keys."""

from collections.abc import Mapping
from http import HTTPStatus

from msgspec import Struct

from stor.blobs.api.preconditions import Invalid
from stor.blobs.fragments import moment
from stor.blobs.rules import Entry
from stor.errors import StorError


class File(Struct, frozen=True, gc=False):
    """A file as the index shows it, `last_modified` such as 2026-01-15T10:30:00.123456Z."""

    md5: str
    last_modified: str
    size: int
    is_deleted: bool
    version: int


class Kept(Struct, frozen=True, gc=False):
    """A version of a file as its history shows it."""

    version: int
    md5: str
    size: int
    last_modified: str
    is_deleted: bool
    content_type: str | None


class History(Struct, frozen=True):
    """All versions of a file that are there, newest first."""

    path: str
    versions: list[Kept]


class Problem(Struct, frozen=True):
    """One place where a request is not what it should be."""

    type: str
    loc: tuple[str, str]
    msg: str
    input: str | None


class Problems(Struct, frozen=True):
    """The body of a 422."""

    detail: list[Problem]


class Error(Struct, frozen=True):
    """The body of every other error."""

    detail: str
    error_code: str | None
    context: Mapping[str, str] | None


def file(entry: Entry) -> File:
    """Show an entry."""
    return File(entry.md5, moment(entry.modified), entry.size, entry.is_deleted, entry.version)


def kept(entry: Entry) -> Kept:
    """Show an entry of the history."""
    modified = moment(entry.modified)
    return Kept(entry.version, entry.md5, entry.size, modified, entry.is_deleted, entry.content_type)


def error(status: int, why: BaseException, request_id: str) -> Problems | Error:
    """Give the body of an error."""
    if isinstance(why, Invalid):
        return Problems([Problem(why.kind, why.place, str(why), why.given)])
    code, context = (why.code, why.context) if isinstance(why, StorError) else (None, None)
    return Error(str(why) or HTTPStatus(status).phrase, code, context)
