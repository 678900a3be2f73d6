"""Physical frames of a simulated machine: who has them, how often, and what for.

A frame is its number's place in three arrays: how many references it has (mappings, page cache, swap cache), what it is
used for, and whether it has been written since it was last known to be zero. Frames come and go one at a time or by the
thousand; both are array operations on a stack of free frame numbers.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.errors import OutOfFrames

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.memory import Ram
    from pagewalk.mm.geometry import Geometry

    Frames = npt.NDArray[np.uint64]

__all__ = ["FramePool", "TableFrames", "Usage"]


class Usage(IntEnum):
    """What a frame is used for."""

    FREE = 0
    ANON = 1
    FILE = 2
    TABLE = 3
    HUGETLB = 4
    ZERO = 5
    HUGETLB_FILE = 6


class FramePool:
    """All frames of a machine's RAM.

    Args:
        memory: The RAM; it starts at physical address 0, is whole frames, and is zero.
        geometry: How large a frame is, and a block.

    Attributes:
        words: The RAM's contents, a row a frame, uint64.
    """

    def __init__(self, memory: Ram, geometry: Geometry) -> None:
        (segment,) = memory.segments
        self.memory = memory
        self.page_size, self.block_size = geometry.page_size, geometry.block_size
        self.block_pages = geometry.block_pages
        words = np.frombuffer(segment.data, np.uint64)
        self.words: Frames = words.reshape(-1, self.page_size // words.itemsize)
        count = len(self.words)
        self.references = np.zeros(count, np.int32)
        self.usage = np.zeros(count, np.uint8)
        self._written = np.zeros(count, bool)
        self._lazy = np.zeros(count, bool)
        self._dirty = np.zeros(count, bool)
        self._mlocked = np.zeros(count, bool)
        self._exclusive = np.zeros(count, bool)
        self._large = np.zeros(-(-count // self.block_pages), bool)
        self._stack = np.empty(count, np.uint64)
        self._top = 0
        self._blocks = list(range(count // self.block_pages - 1, -1, -1))
        self._push(np.arange(count - 1, count // self.block_pages * self.block_pages - 1, -1, dtype=np.uint64))

    def __len__(self) -> int:
        return len(self.references)

    # -- accounting --------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes of RAM."""
        return len(self) * self.page_size

    @property
    def free(self) -> int:
        """Frames that nobody has."""
        return self._top + len(self._blocks) * self.block_pages

    def count(self, usage: Usage) -> int:
        """Frames in this use."""
        return int(np.count_nonzero(self.usage == usage))

    # -- taking ------------------------------------------------------------------------------------------------------

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

        Anonymous ones are a large folio: none of them is free again before all are, or the folio is split.

        Raises:
            OutOfFrames: No block is free in one piece.
        """
        if not self._blocks:
            self._rebuild_blocks()
        if not self._blocks:
            raise OutOfFrames(f"no run of {self.block_size:#x} bytes is free")
        first = self._blocks.pop() * self.block_pages
        self._give(np.arange(first, first + self.block_pages, dtype=np.uint64), usage, zero=True)
        self._large[first // self.block_pages] = usage == Usage.ANON
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
        return numbers * np.uint64(self.page_size)

    # -- sharing and giving back -------------------------------------------------------------------------------------

    def hold(self, paddrs: Any) -> None:
        """One more reference to each frame. ``paddrs``: one address, or an array of different ones."""
        self.references[self._numbers(paddrs)] += 1

    def drop(self, paddrs: Any) -> None:
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
                self._blocks.append(block)

    def mapped_once(self, paddrs: Any) -> Any:
        """Whether a frame is mapped once, the page cache aside: a bool an address."""
        numbers = self._numbers(paddrs)
        return self.references[numbers] - (self.usage[numbers] == Usage.FILE) == 1

    def large(self, paddrs: Any) -> Any:
        """Whether frames belong to large folios: a bool an address."""
        return self._large[self._numbers(paddrs) // np.uint64(self.block_pages)]

    def is_large(self, paddr: int) -> bool:
        """Whether a frame belongs to a large folio."""
        return bool(self._large[paddr // self.block_size])

    def folio(self, paddr: int) -> Frames:
        """The frames of the folio that a frame belongs to: one, or a block."""
        if not self.is_large(paddr):
            return self.run(paddr, self.page_size)
        return self.run(paddr // self.block_size * self.block_size, self.block_size)

    def dissolve(self, paddr: int) -> None:
        """Make the frames of a large folio single ones: those that nobody maps any more are free."""
        block = paddr // self.block_size
        if self._large[block]:
            self._large[block] = False
            numbers = np.arange(block * self.block_pages, (block + 1) * self.block_pages, dtype=np.uint64)
            self._release(numbers[self.references[numbers] == 0])

    def _dissolve_all(self) -> None:
        """Memory is short: split every large folio of which a part is not mapped any more."""
        for block in np.flatnonzero(self._large).tolist():
            if not self.references[self._frames_of(block)].all():
                self.dissolve(block * self.block_size)

    def _release(self, numbers: Frames) -> None:
        """Frames that are free again."""
        self.usage[numbers] = Usage.FREE
        self._push(numbers[::-1])

    def shared(self, paddrs: Any) -> Any:
        """Whether a frame has more than one reference: a bool an address."""
        return self.references[self._numbers(paddrs)] > 1

    def holders(self, paddr: int) -> int:
        """How many references a frame has."""
        return int(self.references[paddr // self.page_size])

    def is_anonymous(self, paddr: int) -> bool:
        """Whether a frame holds anonymous memory."""
        return bool(self.anonymous(paddr)[0])

    def anonymous(self, paddrs: Any) -> Any:
        """Whether frames hold anonymous memory: a bool an address."""
        return self.used_as(paddrs, Usage.ANON)

    def used_as(self, paddrs: Any, usage: Usage) -> Any:
        """Whether frames are in this use: a bool an address."""
        return self.usage[self._numbers(paddrs)] == usage

    def lazy(self, paddrs: Any) -> Any:
        """Whether frames are lazily free: a bool an address."""
        return self._lazy[self._numbers(paddrs)]

    def set_dirty(self, paddrs: Any, *, dirty: Any = True) -> None:
        """Note that frames hold what is nowhere else (``PG_dirty``); entries have a dirty bit of their own."""
        self._dirty[self._numbers(paddrs)] = dirty

    def dirty(self, paddrs: Any) -> Any:
        """Whether frames hold what is nowhere else: a bool an address."""
        return self._dirty[self._numbers(paddrs)]

    def set_exclusive(self, paddrs: Any, *, exclusive: bool) -> None:
        """Mark anonymous frames as one process's own, or as shared by a fork (``PageAnonExclusive``)."""
        self._exclusive[self._numbers(paddrs)] = exclusive

    def is_exclusive(self, paddr: int) -> bool:
        """Whether an anonymous frame is one process's own without a further look."""
        return bool(self._exclusive[paddr // self.page_size])

    def mappings_of_folio(self, paddr: int) -> int:
        """How many entries map pages of the large folio that a frame belongs to, each page counted."""
        block = paddr // self.block_size
        return int(self.references[self._frames_of(block)].sum())

    def use(self, paddrs: Any, usage: Usage) -> None:
        """Say what frames are used for now."""
        self.usage[self._numbers(paddrs)] = usage

    def set_lazy(self, paddrs: Any, *, lazy: bool) -> None:
        """Mark frames as lazily free (MADV_FREE), or not any more; those that stay mlocked never are."""
        numbers = self._numbers(paddrs)
        self._lazy[numbers] = lazy & ~self._mlocked[numbers]

    def is_lazy(self, paddr: int) -> bool:
        """Whether a frame is lazily free."""
        return bool(self.lazy(paddr)[0])

    def set_mlocked(self, paddrs: Any) -> None:
        """Note that frames are mlocked until they are free, whatever becomes of their area."""
        self._mlocked[self._numbers(paddrs)] = True

    def is_mlocked(self, paddr: int) -> bool:
        """Whether a frame stays mlocked though its area may not be."""
        return bool(self._mlocked[paddr // self.page_size])

    def copy(self, source: int, target: int) -> None:
        """Copy one frame's bytes."""
        self.words[target // self.page_size] = self.words[source // self.page_size]

    def clear(self, paddr: int, size: int) -> None:
        """Zero the bytes of a huge page."""
        self.words[paddr // self.page_size : (paddr + size) // self.page_size] = 0

    def copy_run(self, source: int, target: int, size: int) -> None:
        """Copy a huge page's bytes."""
        numbers = [slice(paddr // self.page_size, (paddr + size) // self.page_size) for paddr in (target, source)]
        self.words[numbers[0]] = self.words[numbers[1]]

    def gather(self, sources: Frames, target: int, numbers: Any) -> None:
        """Copy frames into a huge page, each to the numbered page of it."""
        self.words[target // self.page_size + numbers] = self.words[sources // np.uint64(self.page_size)]

    def all_zero(self, paddrs: Frames) -> Any:
        """Whether frames hold nothing but zeros: a bool an address."""
        return ~self.words[paddrs // np.uint64(self.page_size)].any(axis=1)

    def bytes_of(self, paddrs: Frames) -> bytes:
        """What frames hold, one after the other."""
        return self.words[paddrs // np.uint64(self.page_size)].tobytes()

    def run(self, paddr: int, size: int) -> Frames:
        """The addresses of the frames of a huge page, shape (frames,), uint64."""
        return np.arange(paddr, paddr + size, self.page_size, dtype=np.uint64)

    def _numbers(self, paddrs: Any) -> Frames:
        return np.atleast_1d(np.asarray(paddrs, np.uint64)) // np.uint64(self.page_size)

    def recount(self, references: Any) -> None:
        """Say how many references each frame has: those without are free, but for parts of large folios.

        Args:
            references: A number a frame. Shape (frames,).
        """
        self.references[:] = references
        held = self.references != 0
        whole = np.zeros(len(self._large) * self.block_pages, bool)
        whole[: len(held)] = held
        self._large &= whole.reshape(-1, self.block_pages).any(axis=1)
        free = ~held & ~np.repeat(self._large, self.block_pages)[: len(held)]
        self.usage[free] = Usage.FREE
        self._top, self._blocks = 0, []
        self._push(np.flatnonzero(free)[::-1].astype(np.uint64))
        self._rebuild_blocks()

    def _frames_of(self, block: int) -> slice:
        """Where the frames of a block are in the arrays."""
        return slice(block * self.block_pages, (block + 1) * self.block_pages)

    # -- blocks ------------------------------------------------------------------------------------------------------

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
