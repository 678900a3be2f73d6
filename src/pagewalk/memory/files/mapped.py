"""Files, mapped with ``mmap``: what can be, and a file of which bytes are looked up.

A mapped file can be cut off by somebody else. The bytes that have gone are then a SIGBUS, which no Python code can
catch; so the file's size is asked for (one ``fstat``) each time before its bytes are used.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from pagewalk.doors import refuse_pickling, shortened, shown
from pagewalk.errors import ImageFormatError, UnsupportedError
from pagewalk.memory.exact import BadAnswer

__all__ = ["MappedFile", "OfFiles", "Version", "has_path", "mapped"]

_OPEN_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""Without O_NONBLOCK, opening a FIFO waits for somebody to write to it."""
_REFUSED: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
)
"""What has no bytes to map. A disk has: an image may lie on one as it is."""

_DESCRIPTORS: Final = (Path("/dev/fd"), Path("/proc/self/fd"))
"""Where open files have a path that means them in this process alone."""


class Version(NamedTuple):
    """What tells one version of a file from another: bytes, and when it was last written, in nanoseconds."""

    size: int
    changed: int


class MappedFile:
    """A file whose bytes are looked up by their offset; never written.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened or mapped.
        ImageFormatError: It is empty.
        UnsupportedError: It is no file that has bytes to map.

    Attributes:
        size: Its bytes.
        stored: The same: a file that stands for another one (``FlattenedFile``) may have fewer.
        version: Which version of it this is.
        has_path: Whether its path means it in another process too.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.has_path = has_path(self.path)
        self._map, self.version = mapped(self.path, writable=False)
        self._data = memoryview(self._map)
        self.size = self.stored = len(self._data)
        self._closed = False
        self._shrinks = self._map.size() > 0  # a disk does not, and says 0

    def read(self, offset: int, size: int) -> memoryview:
        """The bytes at an offset, in place: fewer where the file ends."""
        return self._data[offset : offset + size]

    def forget(self, offset: int, size: int) -> None:
        """Let go of the memory behind some bytes that were looked at in passing; they can be read again."""
        first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (offset + size) // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0 and not self._closed and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, first, length)

    def check(self, paddr: int, size: int) -> None:
        """Check that the file is open and still has all its bytes, for one who is about to read memory out of it.

        Raises:
            BadAnswer: It was closed, or cut off.
        """
        if self._closed:
            raise BadAnswer(paddr, size, f"{shown(str(self.path))} was closed: open it again")
        if (now := self._map.size()) < self.size and self._shrinks:
            cut = f"was cut off while it was open, from {self.size:#x} to {now:#x} bytes"
            raise BadAnswer(paddr, size, f"{shown(str(self.path))} {cut}")

    def close(self) -> None:
        """Let go of it. Whoever still looks at its bytes keeps them mapped."""
        self._closed = True
        self._data = memoryview(b"")
        with suppress(BufferError):
            self._map.close()


def has_path(path: Path) -> bool:
    """Whether a path means the same file in another process."""
    return path.parent not in _DESCRIPTORS


def mapped(path: Path, writable: bool) -> tuple[mmap.mmap, Version]:
    """A file's bytes, and which version of it they are.

    Raises:
        OSError: It cannot be opened or mapped.
        ImageFormatError: It is empty.
        UnsupportedError: It is a pipe, a socket, a character device.
    """
    fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | _OPEN_FLAGS)
    try:
        status = os.fstat(fd)
        for is_kind, kind in _REFUSED:
            if is_kind(status.st_mode):
                raise UnsupportedError(f"{path}: {kind} cannot be mapped: write the image to a file first")
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        size = os.lseek(fd, 0, os.SEEK_END)  # a disk's too, of which fstat does not tell
        if size == 0:
            raise ImageFormatError(f"{path}: the file is empty")
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return mmap.mmap(fd, size, access=access), Version(size, status.st_mtime_ns)
    finally:
        os.close(fd)


class OfFiles:
    """What memories of mapped files have in common: a name, and how they are pickled, as the paths of their files.

    Attributes:
        closed: Whether it was closed.
    """

    _files: tuple[MappedFile, ...]
    closed: bool

    @property
    def path(self) -> Path:
        """Where the first file is, for messages."""
        return self._files[0].path

    @path.setter
    def path(self, path: Path) -> None:
        self._files[0].path = path

    def __repr__(self) -> str:
        name = shortened(self.path.name, 32)
        more = f" and {len(self._files) - 1} more" if len(self._files) > 1 else ""
        state = "closed" if self.closed else self._shown()
        return f"<{type(self).__name__} {name}{more}{state and f' {state}'}>"

    def _shown(self) -> str:
        """What else to show of it."""
        return ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Opened again where it is unpickled."""
        if self.closed:
            raise refuse_pickling(self, "it is closed: open it again")
        if not all(file.has_path for file in self._files):
            raise refuse_pickling(self, "it has no path of its own, only a descriptor here: open it there by a path")
        files = [(file.path.absolute(), file.version) for file in self._files]
        return _reopened, (type(self), files, self._options())

    def _options(self) -> dict[str, Any]:
        """What it was opened with beside its files."""
        return {}


def _reopened(kind: type[Any], files: list[tuple[Path, Version]], options: dict[str, Any]) -> Any:
    """A memory in files that was pickled.

    Raises:
        ImageFormatError: A file is not what it was.
    """
    for path, version in files:
        status = path.stat()
        if version != (status.st_size or version.size, status.st_mtime_ns):
            raise ImageFormatError(f"{path}: it has changed since it was pickled: open it afresh")
    paths = [path for path, _ in files]
    return kind(paths if len(paths) > 1 else paths[0], **options)
