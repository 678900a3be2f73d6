"""Physical frames of a simulated machine: what is noted of them, and what they hold.

A frame is its number's place in arrays: how many references it has (mappings, page cache, swap cache), what it is used
for, and what the kernel's page flags say of it. Whoever asks about many frames asks once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.mm.hardware.recency import Recency

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.memory import Ram
    from pagewalk.mm.geometry import Geometry

    Frames = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["HOLDERS", "FrameBooks", "Usage"]


class Usage(IntEnum):
    """What a frame is used for."""

    FREE = 0
    ANON = 1
    FILE = 2
    TABLE = 3
    HUGETLB = 4
    ZERO = 5
    HUGETLB_FILE = 6
    SWAP_CACHE = 7
    """Anonymous, and in the swap cache."""
    POISONED = 8
    """Broken, and nobody's any more; it was anonymous, or moved elsewhere in time."""
    POISONED_FILE = 9
    """Broken, and a file's, or it was."""


HOLDERS: Final = np.zeros(len(Usage), np.int32)
HOLDERS[[Usage.FILE, Usage.HUGETLB, Usage.HUGETLB_FILE, Usage.SWAP_CACHE]] = 1, 1, 2, 1
"""How many hold a frame besides its mappings: the page cache, the pool, the swap cache."""
_ANONYMOUS: Final = np.isin(np.arange(len(Usage)), [Usage.ANON, Usage.SWAP_CACHE])


class FrameBooks:
    """What is known of the frames of a machine's RAM.

    Args:
        memory: The RAM; it starts at physical address 0, is whole frames, and is zero.
        geometry: How large a frame is, and a block.

    Attributes:
        words: The RAM's contents, a row a frame, uint64.
        references, usage: For each frame, how many hold it, and its ``Usage``.
        lost: How many are poisoned: each is held once more, for ever.
        recency: How recently their folios were used.
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
        self._lazy = np.zeros(count, bool)
        self._dirty = np.zeros(count, bool)
        self._mlocked = np.zeros(count, bool)
        self._exclusive = np.zeros(count, bool)
        self._poisoned = np.zeros(count, bool)
        self.lost = 0
        self.recency = Recency(count, self.page_size)
        self._large = np.zeros(-(-count // self.block_pages), bool)

    def __len__(self) -> int:
        return len(self.references)

    @property
    def size(self) -> int:
        """Bytes of RAM."""
        return len(self) * self.page_size

    def count(self, usage: Usage) -> int:
        """Frames in this use."""
        return int(np.count_nonzero(self.usage == usage))

    def _numbers(self, paddrs: Frames | int) -> Frames:
        return np.atleast_1d(np.asarray(paddrs, np.uint64)) // np.uint64(self.page_size)

    def _frames_of(self, block: int) -> slice:
        """Where the frames of a block are in the arrays."""
        return slice(block * self.block_pages, (block + 1) * self.block_pages)

    def run(self, paddr: int, size: int) -> Frames:
        """The addresses of the frames of a huge page, shape (frames,), uint64."""
        return np.arange(paddr, paddr + size, self.page_size, dtype=np.uint64)

    # -- who has them, and what for ------------------------------------------------------------------------------------

    def mapped_once(self, paddrs: Frames | int) -> Mask:
        """Whether a frame is mapped once, the page cache and the swap cache aside: a bool an address."""
        numbers = self._numbers(paddrs)
        found: Mask = self.references[numbers] - HOLDERS[self.usage[numbers]] == 1
        return found

    def shared(self, paddrs: Frames | int) -> Mask:
        """Whether a frame has more than one reference: a bool an address."""
        return self.references[self._numbers(paddrs)] > 1

    def holders(self, paddr: int) -> int:
        """How many references a frame has."""
        return int(self.references[paddr // self.page_size])

    def mappings_of_folio(self, paddr: int) -> int:
        """How many entries map pages of the large folio that a frame belongs to, each page counted."""
        here = self._frames_of(paddr // self.block_size)
        return int(self.references[here].sum() - np.count_nonzero(self.usage[here] == Usage.FILE))

    def used_as(self, paddrs: Frames | int, usage: Usage) -> Mask:
        """Whether frames are in this use: a bool an address."""
        return self.usage[self._numbers(paddrs)] == usage

    def is_anonymous(self, paddr: int) -> bool:
        """Whether a frame holds anonymous memory."""
        return bool(self.anonymous(paddr)[0])

    def anonymous(self, paddrs: Frames | int) -> Mask:
        """Whether frames hold anonymous memory: a bool an address."""
        found: Mask = _ANONYMOUS[self.usage[self._numbers(paddrs)]]
        return found

    def use(self, paddrs: Frames | int, usage: Usage) -> None:
        """Say what frames are used for now."""
        self.usage[self._numbers(paddrs)] = usage

    def large(self, paddrs: Frames | int) -> Mask:
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

    def whole_folios(self, paddrs: Frames) -> Frames:
        """Frames, and with each that belongs to a large folio all others of that."""
        large = self.large(paddrs)
        if not large.any():
            return paddrs
        blocks = np.unique(paddrs[large] // np.uint64(self.block_size)) * np.uint64(self.block_size)
        inside = np.arange(0, self.block_size, self.page_size, dtype=np.uint64)
        return np.concatenate([paddrs[~large], (blocks[:, None] + inside).ravel()])

    # -- flags ---------------------------------------------------------------------------------------------------------

    def lazy(self, paddrs: Frames | int) -> Mask:
        """Whether frames are lazily free: a bool an address."""
        return self._lazy[self._numbers(paddrs)]

    def is_lazy(self, paddr: int) -> bool:
        """Whether a frame is lazily free."""
        return bool(self.lazy(paddr)[0])

    def set_lazy(self, paddrs: Frames | int, *, lazy: bool) -> None:
        """Mark frames as lazily free (MADV_FREE), or not any more; those that stay mlocked never are."""
        numbers = self._numbers(paddrs)
        self._lazy[numbers] = lazy & ~self._mlocked[numbers]

    def dirty(self, paddrs: Frames | int) -> Mask:
        """Whether frames hold what is nowhere else: a bool an address."""
        return self._dirty[self._numbers(paddrs)]

    def set_dirty(self, paddrs: Frames | int, *, dirty: Mask | bool = True) -> None:
        """Note that frames hold what is nowhere else (``PG_dirty``); entries have a dirty bit of their own."""
        self._dirty[self._numbers(paddrs)] = dirty

    def is_exclusive(self, paddr: int) -> bool:
        """Whether an anonymous frame is one process's own without a further look."""
        return bool(self._exclusive[paddr // self.page_size])

    def exclusive(self, paddrs: Frames | int) -> Mask:
        """Whether frames hold anonymous memory that is one process's own: a bool an address."""
        return self.anonymous(paddrs) & self._exclusive[self._numbers(paddrs)]

    def set_exclusive(self, paddrs: Frames | int, *, exclusive: bool) -> None:
        """Mark anonymous frames as one process's own, or as shared by a fork (``PageAnonExclusive``)."""
        self._exclusive[self._numbers(paddrs)] = exclusive

    def is_mlocked(self, paddr: int) -> bool:
        """Whether a frame stays mlocked though its area may not be."""
        return bool(self.mlocked(paddr)[0])

    def mlocked(self, paddrs: Frames | int) -> Mask:
        """Whether frames stay mlocked: a bool an address."""
        return self._mlocked[self._numbers(paddrs)]

    def set_mlocked(self, paddrs: Frames | int) -> None:
        """Note that frames are mlocked until they are free, whatever becomes of their area."""
        self._mlocked[self._numbers(paddrs)] = True

    # -- memory errors -------------------------------------------------------------------------------------------------

    def poison(self, paddr: int, usage: Usage) -> None:
        """Note that a frame is broken, and hold it, so that nobody ever gets it again."""
        number = paddr // self.page_size
        self._poisoned[number] = True
        self.usage[number] = usage
        self.references[number] += 1
        self.lost += 1

    def take_over(self, source: int, target: int) -> None:
        """Have a fresh frame take the place of another one, with all that is in it and noted of it.

        The other one is nobody's then, and to be poisoned.
        """
        old, new = source // self.page_size, target // self.page_size
        self.words[new] = self.words[old]
        for notes in (self.references, self.usage, self._lazy, self._dirty, self._mlocked, self._exclusive):
            notes[new] = notes[old]
        self.recency.take_over(source, target)
        self.references[old] = 0

    def poisoned(self, paddrs: Frames | int) -> Mask:
        """Whether frames are broken: a bool an address."""
        return self._poisoned[self._numbers(paddrs)]

    @property
    def poisoned_at(self) -> Mask:
        """Which frames are broken: a bool a frame."""
        return self._poisoned

    def sound(self, paddr: int, size: int) -> int:
        """How many of the bytes from an address on lie before the first broken frame."""
        if not self.lost:
            return size
        first, last = paddr // self.page_size, -(-(paddr + size) // self.page_size)
        broken = np.flatnonzero(self._poisoned[first:last])
        return min(size, max((first + int(broken[0])) * self.page_size - paddr, 0)) if broken.size else size

    # -- contents ------------------------------------------------------------------------------------------------------

    def copy(self, source: int, target: int) -> None:
        """Copy one frame's bytes."""
        self.words[target // self.page_size] = self.words[source // self.page_size]

    def copy_run(self, source: int, target: int, size: int) -> None:
        """Copy a huge page's bytes."""
        numbers = [slice(paddr // self.page_size, (paddr + size) // self.page_size) for paddr in (target, source)]
        self.words[numbers[0]] = self.words[numbers[1]]

    def clear(self, paddr: int, size: int) -> None:
        """Zero the bytes of a huge page."""
        self.memory.clear(paddr, size)

    def gather(self, sources: Frames, target: int, numbers: Places) -> None:
        """Copy frames into a huge page, each to the numbered page of it."""
        self.words[target // self.page_size + numbers] = self.words[sources // np.uint64(self.page_size)]

    def all_zero(self, paddrs: Frames) -> Mask:
        """Whether frames hold nothing but zeros: a bool an address."""
        return ~self.words[paddrs // np.uint64(self.page_size)].any(axis=1)

    def bytes_of(self, paddrs: Frames) -> bytes:
        """What frames hold, one after the other."""
        return self.words[paddrs // np.uint64(self.page_size)].tobytes()
