"""Large folios: runs of a file's pages that its page cache has as one. Numbers of pages only, no frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Folios"]


class Folios:
    """Which runs of a file's pages are one folio each. Any other page is a folio of its own.

    A folio has a power of two of pages, and begins at a multiple of them.

    Args:
        block: Pages of the largest.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self._sizes: dict[int, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sizes)

    def of(self, index: int) -> range:
        """The pages of the folio that a page belongs to."""
        size = self.block if self._sizes else 1
        while size > 1:
            first = index - index % size
            if self._sizes.get(first) == size:
                return range(first, first + size)
            size //= 2
        return range(index, index + 1)

    def __iter__(self) -> Iterator[range]:
        """The pages of each."""
        return (range(first, first + size) for first, size in self._sizes.items())

    def join(self, folio: range) -> None:
        """These pages are one folio now, whatever they were."""
        self.forget(folio)
        self._sizes[folio.start] = len(folio)

    def forget(self, pages: range) -> None:
        """The folios that begin among these pages are none any more."""
        for first in [first for first in self._sizes if first in pages]:
            del self._sizes[first]

    def halve(self, folio: range, at: int) -> list[range]:
        """Split a folio into halves, the half that has a page again, and so on down to that page.

        Returns:
            The large folios that are left.
        """
        self.forget(folio)
        left = list[range]()
        while len(folio) > 1:
            middle = folio.start + len(folio) // 2
            low, high = range(folio.start, middle), range(middle, folio.stop)
            folio, other = (low, high) if at < middle else (high, low)
            if len(other) > 1:
                self._sizes[other.start] = len(other)
                left.append(other)
        return left
