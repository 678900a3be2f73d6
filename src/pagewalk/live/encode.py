"""From pagemap's words to page-table entries. What pagemap does not tell is not made up.

* Rights are the VMA's, less the right to write where the page cannot have it: a file's page in a private mapping, the
  zero page, a page under userfaultfd write protection. Whether a private anonymous page is still shared after fork
  is not known: it keeps the VMA's right.
* A VMA without any right makes PROT_NONE entries: pagemap shows their pages as present.
* Accessed and dirty are not known, and not set.
* A frame that the kernel does not tell is marked ``Flag.NO_FRAME``, never shown as zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.abi.pagemap import (
    MAX_SWAPFILES_SHIFT,
    PM_FILE,
    PM_GUARD_REGION,
    PM_MMAP_EXCLUSIVE,
    PM_PFRAME_MASK,
    PM_PRESENT,
    PM_SOFT_DIRTY,
    PM_SWAP,
    PM_UFFD_WP,
)
from pagewalk.formats import Flag, Kind
from pagewalk.live.kernel import PAGE
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Pages", "encode", "frames_of", "vma_rights"]

_PAGE_SHIFT: Final = np.uint64(PAGE.bit_length() - 1)

PAGEMAP_FLAGS: Final = (
    (Flag.SOFT_DIRTY, PM_SOFT_DIRTY),
    (Flag.EXCLUSIVE, PM_MMAP_EXCLUSIVE),
    (Flag.UFFD_WP, PM_UFFD_WP),
    (Flag.FILE, PM_FILE),
)

_ZERO_KEEPS: Final = Flag.SOFT_DIRTY | Flag.UFFD_WP

_VMA_RIGHTS: Final = (
    (VmaFlags.READ, Flag.READ),
    (VmaFlags.WRITE, Flag.WRITE | Flag.READ),
    (VmaFlags.EXEC, Flag.EXEC | Flag.READ),
)
"""Most hardware cannot refuse reading alone."""


def vma_rights(flags: VmaFlags) -> int:
    """The rights that a VMA with these flags gives its pages, as ``Flag`` bits; 0 for PROT_NONE."""
    rights = Flag(0)
    for has, gives in _VMA_RIGHTS:
        if has in flags:
            rights |= gives | Flag.USER
    return int(rights)


class Pages(NamedTuple):
    """Pages, or huge pages, of one level. Shape (n,) each.

    Attributes:
        words: pagemap entries, uint64; a huge page's is that of its first 4096 bytes.
        rights: What the VMA gives, as ``Flag`` bits, uint64.
        private: Whether the VMA is a private mapping, bool.
        zero: Whether it is a zero page, bool.
    """

    words: Words
    rights: Words
    private: Mask
    zero: Mask

    @classmethod
    def bare(cls, words: Words) -> Pages:
        """What is not present, and needs no rights."""
        none = np.zeros(len(words), np.bool_)
        return cls(words, np.zeros_like(words), none, none)

    def among(self, which: Mask) -> Pages:
        """Those that a mask picks."""
        return Pages(self.words[which], self.rights[which], self.private[which], self.zero[which])


def encode(level: Level, pages: Pages, *, known: bool) -> Words:
    """Make the entries of one level.

    Args:
        level: Where the entries go.
        pages: What they are to say.
        known: Whether the frames are true; else they are marked as not known.

    Returns:
        Raw entries, empty ones where nothing is. Shape (n,), uint64.
    """
    words = pages.words
    guard = _has(words, PM_GUARD_REGION)  # which is PM_SWAP too
    swapped = _has(words, PM_SWAP) & ~guard
    present = _has(words, PM_PRESENT) & ~guard & ~swapped
    entries = np.full_like(words, level.none)
    if guard.any():
        entries[guard] = level.marked(Kind.GUARD.label)
    if swapped.any():
        entries[swapped] = _swap_entries(level, words[swapped])
    if present.any():
        entries[present] = _page_entries(level, pages.among(present), known)
    return entries


def _swap_entries(level: Level, words: Words) -> Words:
    """The entries of what is not present: swap, migration, poison, markers; the type tells which."""
    payload = words & np.uint64(PM_PFRAME_MASK)
    type_ = payload & np.uint64((1 << MAX_SWAPFILES_SHIFT) - 1)
    offset = payload >> np.uint64(MAX_SWAPFILES_SHIFT)
    kinds = level.kind(level.swap(type_, offset))
    carries = (kinds == Kind.SWAP) | (kinds == Kind.MIGRATION)  # of a marker, the offset says it all
    flags = _flags(words, Flag.SOFT_DIRTY | Flag.EXCLUSIVE | Flag.UFFD_WP) * carries
    entries: Words = level.swap(type_, offset, flags)
    return entries


def _page_entries(level: Level, pages: Pages, known: bool) -> Words:
    """The entries of pages that are there."""
    shut = np.flatnonzero(pages.rights == 0)
    flags = _page_flags(pages, known)
    flags[shut] |= np.uint64(Flag.EXEC)  # a page without rights does not say that it cannot be executed
    entries: Words = level.page(np.zeros_like(flags), flags)
    entries[shut] = level.without_rights(entries[shut])
    return entries ^ frames_of(level, pages.words)


def frames_of(level: Level, words: Words) -> Words:
    """Where the frames of pagemap entries stand in entries of a level; x-ored into one for frame 0, in any form."""
    bits: Words = level.frame_bits(words << _PAGE_SHIFT)
    return bits


def _page_flags(pages: Pages, known: bool) -> Words:
    """What to say of pages that are there."""
    flags = _flags(pages.words, Flag.SOFT_DIRTY | Flag.EXCLUSIVE | Flag.UFFD_WP | Flag.FILE)
    # The huge zero page is neither a file's nor anybody's, but pagemap (6.18) says it is; PAGEMAP_SCAN does not.
    flags = np.where(pages.zero, flags & np.uint64(_ZERO_KEEPS) | np.uint64(Flag.SPECIAL), flags)
    of_file = flags & np.uint64(Flag.FILE) != 0
    read_only = pages.zero | (flags & np.uint64(Flag.UFFD_WP) != 0) | pages.private & of_file
    granted = pages.rights & (np.uint64(Flag.rights()) ^ read_only * np.uint64(Flag.WRITE))
    return flags | granted | np.uint64(0 if known else Flag.NO_FRAME)


def _flags(words: Words, wanted: Flag) -> Words:
    """The wanted flags of pagemap entries."""
    flags = np.zeros_like(words)
    for flag, bit in PAGEMAP_FLAGS:
        if flag in wanted:
            flags |= _has(words, bit) * np.uint64(flag)
    return flags


def _has(words: Words, bit: int) -> Mask:
    """Whether a bit is set."""
    return words & np.uint64(bit) != 0
