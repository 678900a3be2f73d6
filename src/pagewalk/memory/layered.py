"""Flat memories out of several files, or of several parts of one, mapped and never written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.doors import integer, refuse_pickling, shortened
from pagewalk.memory.flat import FlatMemory
from pagewalk.memory.mapped import reopened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pagewalk.memory.mapped import MappedFile
    from pagewalk.memory.protocol import Segment

__all__ = ["MappedFiles"]


class MappedFiles(FlatMemory):
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
        return f"<{type(self).__name__} {name}{more} {'closed' if self.closed else shortened(self.extent, 48)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Opened again where it is unpickled."""
        if self.closed:
            raise refuse_pickling(self, "it is closed: open it again")
        if not all(file.has_path for file in self._files):
            raise refuse_pickling(self, "it has no path of its own, only a descriptor here: open it there by a path")
        files = [(file.path.absolute(), file.version) for file in self._files]
        return reopened, (type(self), files, self._options())

    def _options(self) -> dict[str, Any]:
        """What it was opened with beside its files."""
        return {}

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
