"""Renames that Python does not know: without replacing anything, and of two names at once (renameat2(2))."""

import ctypes
import errno
import os

_NOREPLACE, _EXCHANGE = 1, 2
_UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}  # by this kernel, or by this file system
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


class Unsupported(OSError):
    """This system cannot do it; nothing was done."""


def _rename(source: tuple[int, str], target: tuple[int, str], how: int) -> None:
    if _renameat2 is None:
        raise Unsupported
    names = (source[0], os.fsencode(source[1]), target[0], os.fsencode(target[1]))
    if _renameat2(*names, how) != 0:
        code = ctypes.get_errno()
        if code in _UNKNOWN:
            raise Unsupported(code, os.strerror(code), target[1])
        raise OSError(code, os.strerror(code), target[1])


def exchange(one: tuple[int, str], other: tuple[int, str]) -> None:
    """Have two names (each in a folder's descriptor) change places at once; Unsupported where that cannot be."""
    _rename(one, other, _EXCHANGE)


def move(source: tuple[int, str], target: tuple[int, str]) -> None:
    """Rename a file where nothing is; FileExistsError, and all as before, where something is."""
    try:
        _rename(source, target, _NOREPLACE)
    except Unsupported:
        os.link(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0], follow_symlinks=False)
        os.unlink(source[1], dir_fd=source[0])
