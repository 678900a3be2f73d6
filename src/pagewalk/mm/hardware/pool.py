"""Frames that come and go: one at a time, by the thousand, or a block in one piece.

Both are array operations on a stack of free frame numbers. Blocks that are wholly free stand in a list of their own,
and are broken up when no single frame is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.errors import OutOfFrames
from pagewalk.mm.hardware.frames import FrameBooks, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.memory import Ram
    from pagewalk.mm.geometry import Geometry
    from pagewalk.mm.hardware.frames import Frames

__all__ = ["FramePool", "TableFrames"]


class FramePool(FrameBooks):
    """All frames of a machine's RAM. Arguments as ``FrameBooks``.

    Attributes:
        on_shortage: Called when there are too few, to give some back.
    """

    def __init__(self, memory: Ram, geometry: Geometry) -> None:
        super().__init__(memory, geometry)
        count = len(self)
        self._written = np.zeros(count, bool)  # since it was last known to be zero
        self._stack = np.empty(count, np.uint64)
        self._top = 0
        self.on_shortage: Callable[[], None] | None = None
        self._blocks = list(range(count // self.block_pages - 1, -1, -1))
        self._push(np.arange(count - 1, count // self.block_pages * self.block_pages - 1, -1, dtype=np.uint64))

    @property
    def free(self) -> int:
        """Frames that nobody has."""
        return self._top + len(self._blocks) * self.block_pages

    # -- taking --------------------------------------------------------------------------------------------------------

    def take(self, usage: Usage) -> int:
        """One frame, zeroed, with one reference: its physical address.

        Raises:
            OutOfFrames: There is none left.
        """
        return int(self.take_many(1, usage)[0])

    def take_many(self, count: int, usage: Usage, *, zero: bool = True) -> Frames:
        """Frames, zeroed, with one reference each: all or none.

        Args:
            count: How many.
            usage: What for.
            zero: False leaves what is in them to the caller, who overwrites it.

        Returns:
            Physical addresses, shape (count,), uint64.

        Raises:
            OutOfFrames: There are not that many.
        """
        if self.free < count:
            self._dissolve_all()
        while self._top < count and self._blocks:
            self._break_block()
        if self._top < count:
            raise OutOfFrames(f"{count} frames wanted, {self._top} of {len(self)} free")
        self._top -= count
        numbers = self._stack[self._top : self._top + count][::-1].copy()
        return self._give(numbers, usage, zero)

    def take_up_to(self, count: int, usage: Usage) -> Frames:
        """As many frames as there are, ``count`` at most."""
        if self.free < count:
            self._dissolve_all()
        return self.take_many(min(count, self.free), usage)

    def take_block(self, usage: Usage) -> int:
        """The frames of a block, one aligned run, zeroed, with one reference each: the physical address of the first.

        Unless they are zero pages they are a large folio: none of them is free again before all are, or it is split.

        Raises:
            OutOfFrames: No block is free in one piece.
        """
        if not self._blocks:
            self._rebuild_blocks()
        if not self._blocks:
            raise OutOfFrames(f"no run of {self.block_size:#x} bytes is free")
        first = self._blocks.pop() * self.block_pages
        paddrs = self._give(np.arange(first, first + self.block_pages, dtype=np.uint64), usage, zero=True)
        self._large[first // self.block_pages] = usage != Usage.ZERO
        if usage != Usage.ZERO:
            self.recency.join(paddrs)
        return first * self.page_size

    def take_run(self, size: int, usage: Usage) -> int:
        """An aligned run of ``size`` bytes (a multiple of a block), zeroed, with one reference a frame.

        Raises:
            OutOfFrames: No such run is free.
        """
        self._rebuild_blocks()
        blocks, free = size // self.block_size, set(self._blocks)
        for first in range(0, len(self) // self.block_pages - blocks + 1, blocks):
            wanted = range(first, first + blocks)
            if free.issuperset(wanted):
                self._blocks = [block for block in self._blocks if block not in wanted]
                numbers = np.arange(first * self.block_pages, (first + blocks) * self.block_pages, dtype=np.uint64)
                self._give(numbers, usage, zero=True)
                return first * self.block_size
        raise OutOfFrames(f"no run of {size:#x} bytes is free")

    def _give(self, numbers: Frames, usage: Usage, zero: bool) -> Frames:
        """Hand frames out."""
        self.references[numbers] = 1
        self.usage[numbers] = usage
        self._lazy[numbers] = False
        self._dirty[numbers] = False
        self._mlocked[numbers] = False
        self._exclusive[numbers] = True
        if zero and (dirty := numbers[self._written[numbers]]).size:
            self.words[dirty] = 0
        self._written[numbers] = True
        paddrs = numbers * np.uint64(self.page_size)
        self.recency.begin(paddrs)
        return paddrs

    # -- sharing and giving back ---------------------------------------------------------------------------------------

    def hold(self, paddrs: Frames | int) -> None:
        """One more reference to each frame. ``paddrs``: one address, or an array of different ones."""
        self.references[self._numbers(paddrs)] += 1

    def drop(self, paddrs: Frames | int) -> None:
        """One reference less to each frame; those that had their last one are free."""
        numbers = self._numbers(paddrs)
        left = self.references[numbers] - 1
        if (left < 0).any():
            bad = int(numbers[left < 0][0]) * self.page_size
            raise ValueError(f"frame {bad:#x} is given back more often than it was taken")
        self.references[numbers] = left
        gone = numbers[left == 0]
        large = self._large[gone // np.uint64(self.block_pages)]
        self._release(gone[~large])
        for block in np.unique(gone[large] // np.uint64(self.block_pages)).tolist():
            if not self.references[self._frames_of(block)].any():
                self._large[block] = False
                self.usage[self._frames_of(block)] = Usage.FREE
                self.recency.separate(self.run(block * self.block_size, self.block_size))
                self._blocks.append(block)

    def dissolve(self, paddr: int) -> None:
        """Make the frames of a large folio single ones: those that nobody maps any more are free."""
        block = paddr // self.block_size
        if self._large[block]:
            self._large[block] = False
            numbers = np.arange(block * self.block_pages, (block + 1) * self.block_pages, dtype=np.uint64)
            self.recency.separate(numbers * np.uint64(self.page_size))
            self._release(numbers[self.references[numbers] == 0])

    def _dissolve_all(self) -> None:
        """Memory is short: split every large folio of which a part is not mapped any more; ask for what is unused."""
        for block in np.flatnonzero(self._large).tolist():
            if not self.references[self._frames_of(block)].all():
                self.dissolve(block * self.block_size)
        if self.on_shortage is not None:
            self.on_shortage()

    def _release(self, numbers: Frames) -> None:
        """Frames that are free again."""
        self.usage[numbers] = Usage.FREE
        self._push(numbers[::-1])

    def recount(self, references: Any, file_folios: list[Frames]) -> None:
        """Say how many references each frame has: those without are free, but for parts of large folios.

        Args:
            references: A number a frame. Shape (frames,).
            file_folios: The frames of each large folio of a file; no others of theirs are.
        """
        self.references[:] = references
        self.lost = int(np.count_nonzero(self.poisoned_at))
        self._large[np.unique(np.flatnonzero(self.usage == Usage.FILE) // self.block_pages)] = False
        blocks = [int(folio[0]) for folio in file_folios if len(folio) == self.block_pages]
        self._large[np.array(blocks, np.int64) // self.block_size] = True
        held = self.references != 0
        whole = np.zeros(len(self._large) * self.block_pages, bool)
        whole[: len(held)] = held
        self._large &= whole.reshape(-1, self.block_pages).any(axis=1)
        anonymous = np.setdiff1d(np.flatnonzero(self._large) * self.block_size, blocks).tolist()
        self.recency.recount([*file_folios, *(self.folio(block) for block in anonymous)])
        free = ~held & ~np.repeat(self._large, self.block_pages)[: len(held)]
        self.usage[free] = Usage.FREE
        self._top, self._blocks = 0, []
        self._push(np.flatnonzero(free)[::-1].astype(np.uint64))
        self._rebuild_blocks()

    # -- blocks --------------------------------------------------------------------------------------------------------

    def _push(self, numbers: Frames) -> None:
        """Put frames on the free stack."""
        self._stack[self._top : self._top + len(numbers)] = numbers
        self._top += len(numbers)

    def _break_block(self) -> None:
        """Turn a free block into single frames, those below the ones already single."""
        first = self._blocks.pop() * self.block_pages
        singles = self._stack[: self._top].copy()
        self._top = 0
        self._push(np.arange(first + self.block_pages - 1, first - 1, -1, dtype=np.uint64))
        self._push(singles)

    def _rebuild_blocks(self) -> None:
        """Find the blocks that are wholly free again."""
        whole = len(self) // self.block_pages * self.block_pages
        free = (self.usage == Usage.FREE)[:whole].reshape(-1, self.block_pages).all(axis=1)
        self._blocks = [int(block) for block in np.flatnonzero(free)[::-1]]
        singles = self._stack[: self._top]
        block_of = np.minimum(singles // np.uint64(self.block_pages), np.uint64(len(free)))
        keep = singles[~np.append(free, False)[block_of]]
        self._top = 0
        self._push(keep.copy())


class TableFrames:
    """The pool as an allocator of page tables (``pagewalk.FrameAllocator``)."""

    def __init__(self, pool: FramePool) -> None:
        self.pool = pool

    def allocate(self) -> int:
        """See ``FrameAllocator``."""
        return self.pool.take(Usage.TABLE)

    def allocate_many(self, count: int) -> Frames:
        """Frames for ``count`` tables at once, all or none; their contents are undefined.

        Raises:
            OutOfFrames: There are not that many.
        """
        return self.pool.take_many(count, Usage.TABLE, zero=False)

    def free(self, paddr: int) -> None:
        """See ``FrameAllocator``."""
        self.pool.drop(paddr)
