"""Flat memories out of several files, or of several parts of one, mapped and never written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.doors import integer, shortened
from pagewalk.memory.files.mapped import OfFiles
from pagewalk.memory.flat import FlatMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pagewalk.memory.files.mapped import MappedFile
    from pagewalk.memory.protocol import Segment

__all__ = ["MappedFiles"]


class MappedFiles(OfFiles, FlatMemory):
    """Memory that lies in files as it is.

    It is pickled as their paths; whoever unpickles it opens the files again, and is refused if one has changed since.

    Args:
        files: The files.
        segments: Their parts.

    Raises:
        ImageFormatError: Two parts overlap, or one lies beyond 64 bits.

    Attributes:
        closed: Whether ``close`` was called.
    """

    def __init__(self, files: Sequence[MappedFile], segments: Iterable[Segment]) -> None:
        self._files = tuple(files)
        self.closed = False
        self.holds_frames = True
        super().__init__(segments)

    def _shown(self) -> str:
        """Where it is."""
        return shortened(self.extent, 48)

    def close(self) -> None:
        """Let go of the files. Whoever still looks at their bytes in place keeps them mapped."""
        self.closed = True
        self.segments = ()
        self._starts = []
        for file in self._files:
            file.close()

    def check_extent(self) -> None:
        """Check that the files are open and still have all their bytes; called before they are used in place.

        Raises:
            BadAnswer: One was closed, or cut off.
        """
        for file in self._files:
            file.check(self._starts[0] if self._starts else 0, 1)

    def read(self, paddr: int, size: int) -> bytes:
        """See ``FlatMemory``; refused too where a file was closed or cut off."""
        for file in self._files:
            file.check(integer(paddr, "paddr"), integer(size, "size"))
        return super().read(paddr, size)
