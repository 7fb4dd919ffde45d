"""Bytes on their way: `Stream` going out, `Spool` coming in."""

from stor.streams.file import FilePart
from stor.streams.sink import Sink
from stor.streams.spool import Spool
from stor.streams.stream import Body, FileStream, Stream, whole

__all__ = ["Body", "FilePart", "FileStream", "Sink", "Spool", "Stream", "whole"]
