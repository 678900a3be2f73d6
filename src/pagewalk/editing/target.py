"""Copies of files that a change is committed to, and whether two memories translate alike."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pagewalk.doors import shown
from pagewalk.errors import EditError, UnsupportedError
from pagewalk.memory import RawImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.memory import Memory

__all__ = ["Copy", "copied"]

_CLONE: Final = 0x40049409
"""FICLONE: a copy that shares its blocks, where the file system has such. Source: ``include/uapi/linux/fs.h``."""
_CHUNK: Final = 1 << 26
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Copy:
    """A copy of the file that a memory is in, which takes its place when it is whole.

    Args:
        memory: The memory.
        to: Where the copy goes; a file that is there is replaced.

    Raises:
        UnsupportedError: The memory is in no file of its own, as it lies.
        EditError: The copy would be the source.
        OSError: It cannot be written; nothing is left of it.

    Attributes:
        memory: The copy's memory, to be written.
        path: Where it goes.
    """

    def __init__(self, memory: Memory, to: str | os.PathLike[str]) -> None:
        if not isinstance(memory, RawImage):
            name = type(memory).__name__
            raise UnsupportedError(f"{name} lies in no file as it is, so no changed copy is made: copy it raw first")
        self.path = Path(to)
        if self.path.exists() and self.path.samefile(memory.path):
            raise EditError(f"{shown(str(to))} is the source itself: open it with writable=True, or give another name")
        self._part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            _copy_file(memory.path, self._part)
            self.memory = RawImage(self._part, segments=memory.parts, writable=True)
        except BaseException:
            self.drop()
            raise

    def keep(self) -> None:
        """Put it where it goes."""
        self.memory.sync()
        self._part.replace(self.path)
        self.memory.path = self.path

    def drop(self) -> None:
        """Remove it, where it has not been put where it goes."""
        with suppress(FileNotFoundError):
            self._part.unlink()


@contextmanager
def copied(memory: Memory, to: str | os.PathLike[str], *, at_once: bool) -> Iterator[Copy]:
    """A copy, removed if anything fails before it is where it goes.

    Args:
        memory: What is copied.
        to: Where it goes.
        at_once: Put it there before it is changed; else when it has been.
    """
    copy = Copy(memory, to)
    try:
        if at_once:
            copy.keep()
        yield copy
        copy.memory.sync()
        if not at_once:
            copy.keep()
    finally:
        copy.drop()
        copy.memory.close()


def _copy_file(source: Path, to: Path) -> None:
    """Copy a file: sharing its blocks where that can be, else without filling its holes."""
    with source.open("rb") as here, to.open("xb") as there:
        try:
            _share_blocks(here.fileno(), there.fileno())
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            _copy_data(here.fileno(), there.fileno())


def _share_blocks(here: int, there: int) -> None:
    """Have a file share another's blocks.

    Raises:
        OSError: The file system, or the operating system, has no such copies.
    """
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.EOPNOTSUPP, "this system shares no blocks") from None
    fcntl.ioctl(there, _CLONE, here)


def _copy_data(here: int, there: int) -> None:
    """Copy what is no hole."""
    size = os.fstat(here).st_size
    os.ftruncate(there, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(here, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # the rest is a hole
        end = os.lseek(here, at, os.SEEK_HOLE)
        os.lseek(there, at, os.SEEK_SET)
        os.lseek(here, at, os.SEEK_SET)
        while at < end:
            data = os.read(here, min(_CHUNK, end - at))
            if not data:
                return  # it was cut off: its reader says so
            at += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(there, view) :]
