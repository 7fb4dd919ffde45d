"""Disks that are small or broken."""

import subprocess
from pathlib import Path

from tests.places import folder
from tests.programs import program

_BROKEN = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int broken(void) { const char *sign = getenv("DISK_IS_BROKEN"); return sign && access(sign, F_OK) == 0; }
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (broken()) { errno = EIO; return -1; }
    return real(fd);
}
int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (broken()) { errno = EIO; return -1; }
    return real(fd);
}
"""


def small_disk(case, size):
    """Make a disk in memory of so many bytes, for root only; gone with the test."""
    place = folder(case)
    subprocess.run([program("mount"), "-t", "tmpfs", "-o", f"size={size}", "stor-test", place], check=True)
    case.addCleanup(subprocess.run, [program("umount"), "--lazy", place], check=True)
    return place


def broken_disk(case):
    """Give an environment in which no disk can be synced (EIO) while a file exists, and that file."""
    place = folder(case)
    source, library, sign = place / "broken.c", place / "broken.so", place / "broken"
    source.write_text(_BROKEN)
    subprocess.run([program("cc"), "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "DISK_IS_BROKEN": str(sign)}, Path(sign)
