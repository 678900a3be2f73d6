"""Sizes: everything that follows from a format's levels. No size, count or number of a level is written elsewhere.

How it works. The machine's own words are few: a *page* is what an entry of the last level maps. A *block* is what one
table of the last level covers, which is what an entry above that level maps if it is a huge page. A large folio is a
block; so is a transparent huge page. Larger pages are for hugetlb alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.mm.entries import LevelEntries

if TYPE_CHECKING:
    from pagewalk.formats import PagingFormat

__all__ = ["ADDRESSES", "LOWEST", "Geometry"]

STACK_GAP: Final = 256
"""Pages kept free below a stack (stack_guard_gap)."""
UNASKED_BITS: Final = 48
"""Bits of an address that is given unasked (DEFAULT_MAP_WINDOW)."""
ADDRESSES: Final = 1 << 64
"""How many there are; lengths and ends wrap there."""
LOWEST: Final = 0x1_0000
"""The lowest address that is given (mmap_min_addr)."""
MMAP_GAP: Final = 128 << 20
"""Bytes left for the stack above the first mapping (MIN_GAP)."""


class Geometry:
    """The sizes of a format.

    Args:
        form: The format.

    Attributes:
        levels: What each level's entries say, top to bottom.
        real_levels: Those that the hardware has.
        last: The level of pages.
        upper: The level above it: its entries point to tables of the last level, or map huge pages of a block.
        huge: The levels above the last whose entries can map a page, by its size.
        page_size, block_size: In bytes.
        block_pages: Pages in a block.
        user_end: The end of the addresses that a process may have.
        task_size: The end of those that it may map.
        mmap_base: Below it is the first mapping whose address nobody chose.
        stack_gap: Bytes kept free below a stack.
    """

    def __init__(self, form: PagingFormat) -> None:
        self.levels = tuple(LevelEntries(level) for level in form.levels)
        self.real_levels = tuple(level for level in self.levels if not level.level.folded)
        *above, self.last = self.levels
        self.upper = above[-1]
        self.huge = {level.span: level for level in above if level.holds_pages}
        self.page_size = self.last.span
        self.block_size = self.upper.span
        self.block_pages = self.block_size // self.page_size
        self.user_end = form.windows[0].end
        self.task_size = self.user_end - self.page_size
        self.mmap_base = _unasked_end(form, self.user_end) - self.page_size - MMAP_GAP
        self.stack_gap = STACK_GAP * self.page_size

    def page_start(self, addr: int) -> int:
        """Where the page that holds an address begins."""
        return addr // self.page_size * self.page_size

    def page_end(self, addr: int) -> int:
        """The end of whole pages that reach to an address; of a length, the whole pages."""
        return -(-addr // self.page_size) * self.page_size

    def length(self, length: int) -> int:
        """A length in whole pages, as the kernel's 64 bits hold it (``PAGE_ALIGN``): near their end it wraps to 0."""
        return self.page_end(length) % ADDRESSES

    def block_start(self, addr: int) -> int:
        """Where the block that holds an address begins."""
        return addr // self.block_size * self.block_size

    def block_end(self, addr: int) -> int:
        """The end of whole blocks that reach to an address."""
        return -(-addr // self.block_size) * self.block_size


def _unasked_end(form: PagingFormat, user_end: int) -> int:
    """The end of the addresses that a process gets unasked, however wide those are that it may ask for."""
    top = form.levels[0]
    return user_end >> max(top.shift + top.index_bits - UNASKED_BITS, 0)
