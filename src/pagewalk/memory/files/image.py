"""Image files, mapped with ``mmap``.

A mapped file can be cut off by somebody else. The bytes that have gone are then a SIGBUS, which no Python code can
catch; so the file's size is asked for (one ``fstat``) each time before its bytes are used.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pagewalk.doors import integer, plain, refuse_pickling, shortened, shown
from pagewalk.errors import ImageFormatError, MemoryWriteError
from pagewalk.memory.exact import BadAnswer
from pagewalk.memory.files.mapped import Version, has_path, mapped
from pagewalk.memory.flat import FlatMemory
from pagewalk.memory.protocol import Segment

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

__all__ = ["RawImage"]


class RawImage(FlatMemory):
    """A file that holds physical memory as it is, mapped with ``mmap``.

    It is pickled as its path: whoever unpickles it opens the file again, and is refused if that has changed since.

    Args:
        path: The file.
        base: Physical address of its first byte.
        segments: Where the file's parts lie, as ``(paddr, offset, size)``, if it is not one run from ``base``.
        writable: Map it shared and writable: what is written is in the file at once.

    Raises:
        OSError: The file cannot be opened or mapped.
        ImageFormatError: It is empty, or ends before a segment does.
        UnsupportedError: It is no file that has bytes to map: a pipe, a socket, a character device.

    Attributes:
        closed: Whether ``close`` was called.

    It claims to hold the frames that its page tables name. It must keep its size while it is mapped: one that was cut
    off is noticed before each read, walk, translation and question (MemoryReadError); cut off in the middle of one, it
    ends the process with SIGBUS.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        base: int = 0,
        segments: Iterable[tuple[int, int, int]] | None = None,
        writable: bool = False,
    ) -> None:
        self.path = Path(path)
        self._has_path = has_path(self.path)
        self._map, self._version = mapped(self.path, writable)
        self.closed = False
        self._shrinks = self._map.size() > 0  # a disk does not, and says 0
        self._writable = writable
        self.holds_frames = True
        data = memoryview(self._map)
        parts = self._laid_out(data, base) if segments is None else segments
        self._parts = [_part(part) for part in parts]
        super().__init__(self._cut(data, *part) for part in self._parts)

    @property
    def parts(self) -> list[tuple[int, int, int]]:
        """Where the file's parts lie, as ``(paddr, offset, size)``."""
        return list(self._parts)

    def sync(self) -> None:
        """Have what was written on disk when this returns.

        Raises:
            OSError: It cannot be written there.
        """
        if self._writable and not self.closed:
            self._map.flush()

    def _laid_out(self, data: memoryview, base: int) -> Iterable[tuple[int, int, int]]:
        """Where the file's parts lie, if the caller does not say."""
        return [(base, 0, len(data))]

    def __repr__(self) -> str:
        where = "closed" if self.closed else shortened(self.extent, 64)
        return f"<{type(self).__name__} {shortened(self.path.name, 32)} {where}>"

    @property
    def _why_closed(self) -> str:
        return f"{shown(str(self.path))} was closed: open it again"

    def __reduce__(self) -> tuple[Any, ...]:
        """Opened again where it is unpickled."""
        if self.closed:
            raise refuse_pickling(self, "it is closed: open it again")
        if self._writable:
            raise refuse_pickling(self, "it is writable, and two would write to one file: open it there by its path")
        if not self._has_path:
            raise refuse_pickling(self, "it has no path of its own, only a descriptor here: open it there by a path")
        return _reopened, (type(self), self.path.absolute(), self._again(), self._version)

    def _again(self) -> dict[str, Any]:
        """What to open it with again."""
        return {"segments": self._parts}

    def close(self) -> None:
        """Let go of the file. Whoever still looks at its bytes in place, as a question under way, keeps them mapped."""
        self.closed = True
        self.segments = ()
        self._starts = []
        with suppress(BufferError):  # somebody looks: they go with the last who does
            self._map.close()

    def check_extent(self) -> None:
        """Check that the file is open and still has all its bytes; called before they are used in place.

        Raises:
            MemoryReadError: It was closed, or cut off.
        """
        if self.closed:
            (paddr, _, length), *_ = self._parts
            raise BadAnswer(paddr, length, self._why_closed)
        size = self._map.size()
        if size >= len(self._map) or not self._shrinks:
            return
        (paddr, offset, length) = max(self._parts, key=lambda part: part[1] + part[2])
        first = max(offset, size)
        if first < offset + length:
            why = f"{shown(str(self.path))} was cut off while it was open, from {len(self._map):#x} to {size:#x} bytes"
            raise BadAnswer(paddr + first - offset, offset + length - first, why)

    def read(self, paddr: int, size: int) -> bytes:
        """See ``FlatMemory``; refused too where the file was closed or cut off."""
        if self.closed:
            raise BadAnswer(integer(paddr, "paddr"), integer(size, "size"), self._why_closed)
        self.check_extent()
        return super().read(paddr, size)

    def write(self, paddr: int, data: bytes) -> None:
        """See ``FlatMemory``; refused too where the file was closed or cut off."""
        if self.closed:
            raise MemoryWriteError(integer(paddr, "paddr"), len(plain(data)), self._why_closed)
        self.check_extent()
        super().write(paddr, data)

    def _cut(self, data: memoryview, paddr: int, offset: int, size: int) -> Segment:
        """One segment of the file."""
        if paddr < 0 or offset < 0 or size <= 0 or offset + size > len(data):
            raise ImageFormatError(
                f"{self.path}: truncated: a segment of {size:#x} bytes at offset {offset:#x} "
                f"does not fit in {len(data):#x} bytes"
            )
        return Segment(paddr, data[offset : offset + size])


def _part(given: Any) -> tuple[int, int, int]:
    """Where a part of a file lies."""
    try:
        paddr, offset, size = given
    except (TypeError, ValueError):
        raise TypeError(f"a segment of a file is (paddr, offset, size), not {shown(given)}") from None
    return integer(paddr, "a segment's paddr"), integer(offset, "its offset"), integer(size, "its size")


def _reopened(kind: type[RawImage], path: Path, options: dict[str, Any], version: Version) -> RawImage:
    """An image that was pickled.

    Raises:
        ImageFormatError: The file is not what it was.
    """
    try:
        image = kind(path, **options)
        now = image._version
    except ImageFormatError:  # its parts were in it, and are not any more
        now = version._replace(size=path.stat().st_size)
    for what, was, is_now in zip(("size", "time of change"), version, now, strict=True):
        if was != is_now:
            then = f"its {what} was {was} when it was pickled and is {is_now} now"
            raise ImageFormatError(f"{path}: {then}: open it afresh")
    return image
