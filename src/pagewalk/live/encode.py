"""From pagemap's words to page-table entries. What pagemap does not tell is not made up.

* Rights are the VMA's, less the right to write where the page cannot have it: a file's page in a private mapping, the
  zero page, a page under userfaultfd write protection. Whether a private anonymous page is still shared after fork
  is not known: it keeps the VMA's right.
* A VMA without any right makes PROT_NONE entries: pagemap shows their pages as present.
* Accessed and dirty are not known, and not set.
* A frame that the kernel does not tell is marked ``Flag.NO_FRAME``, never shown as zero.
"""

from __future__ import annotations

import gzip
import platform
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
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
from pagewalk.formats import Flag, FlagBit, PagingFormat, SwapTypes, linux_x86, x86_64
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, SoftwareLayer

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Pages", "capture_format", "encode", "frames_of", "swap_types", "vma_rights"]

PAGEMAP_FLAGS: Final = (
    (Flag.SOFT_DIRTY, PM_SOFT_DIRTY),
    (Flag.EXCLUSIVE, PM_MMAP_EXCLUSIVE),
    (Flag.UFFD_WP, PM_UFFD_WP),
    (Flag.FILE, PM_FILE),
)

_ZERO_KEEPS: Final = Flag.SOFT_DIRTY | Flag.UFFD_WP

CAPTURE_BITS: Final = (
    FlagBit(Flag.FILE, 52),
    FlagBit(Flag.EXCLUSIVE, 53),
    FlagBit(Flag.NO_FRAME, 54),
)
"""What pagemap knows and no page table holds, in bits that the MMU ignores."""

_VMA_RIGHTS: Final = (
    (VmaFlags.READ, Flag.READ),
    (VmaFlags.WRITE, Flag.WRITE | Flag.READ),
    (VmaFlags.EXEC, Flag.EXEC | Flag.READ),
)
"""x86 without protection keys cannot refuse reading alone."""


@lru_cache(maxsize=2)
def capture_format(levels: int) -> PagingFormat:
    """The format of a capture: x86-64, with ``CAPTURE_BITS`` and the running kernel's swap types."""
    layer = linux_x86(levels, swap_types())
    return x86_64(levels, software=replace(layer, state=layer.state + CAPTURE_BITS))


def swap_types() -> SwapTypes:
    """The running kernel's special swap types, if its configuration can be read; else the defaults.

    They are counted down from the marker's, 31 (``include/linux/swap.h``).
    """
    release = platform.release()
    for path in ("/proc/config.gz", f"/boot/config-{release}"):
        try:
            data = Path(path).read_bytes()
        except OSError:
            continue
        return _from_config(gzip.decompress(data) if path.endswith(".gz") else data, release)
    return SwapTypes()


def _from_config(config: bytes, release: str) -> SwapTypes:
    """The types of a kernel with this configuration."""
    version = tuple(map(int, re.findall(r"\d+", release)[:2]))
    device = 0
    if b"\nCONFIG_DEVICE_PRIVATE=y" in config:
        device = 3 if version >= (6, 15) else 4
    last = SwapTypes().marker - device - 1
    return SwapTypes(hwpoison=last - 3, migration=(last - 2, last))


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


def encode(form: PagingFormat, level: Level, pages: Pages, *, known: bool) -> Words:
    """Make the entries of one level.

    Args:
        form: The capture's format.
        level: Where the entries go.
        pages: What they are to say.
        known: Whether the frames are true; else they are marked as not known.

    Returns:
        Raw entries, 0 where nothing is. Shape (n,), uint64.
    """
    words, software = pages.words, form.software
    guard = _has(words, PM_GUARD_REGION)  # which is PM_SWAP too
    swapped = _has(words, PM_SWAP) & ~guard
    present = _has(words, PM_PRESENT) & ~guard & ~swapped
    entries = np.zeros_like(words)
    entries[guard] = software.guard_entry
    entries[swapped] = _swap_entries(software, words[swapped])
    entries[present] = _page_entries(form, level, pages.among(present), known)
    return entries


def _swap_entries(software: SoftwareLayer, words: Words) -> Words:
    """The entries of what is not present: swap, migration, poison, markers; the type tells which."""
    payload = words & np.uint64(PM_PFRAME_MASK)
    type_ = payload & np.uint64((1 << MAX_SWAPFILES_SHIFT) - 1)
    entries: Words = software.swap_entry(type_, payload >> np.uint64(MAX_SWAPFILES_SHIFT))
    no_marker = type_ != software.types.marker  # a marker's offset says it all
    for row in software.swap_state:
        entries |= (no_marker & (_flags(words, row.flag) != 0)) * np.uint64(1 << row.bit)
    return entries


def _page_entries(form: PagingFormat, level: Level, pages: Pages, known: bool) -> Words:
    """The entries of pages that are there."""
    flags = _page_flags(pages, known)
    shut = pages.rights == 0
    # PROT_NONE (pgtable-invert.h): not valid, the frame's bits inverted; execute-disable is not set.
    flags |= shut * np.uint64(Flag.EXEC)
    entries: Words = form.leaf_entry(np.zeros_like(flags), flags, level)
    entries ^= shut * np.uint64(1 << form.valid)
    entries |= shut * np.uint64(form.software.prot_none.value)
    return entries ^ shut * frame_bits(form, level) ^ frames_of(form, level, pages.words)


def frames_of(form: PagingFormat, level: Level, words: Words) -> Words:
    """Where the frames of pagemap entries stand in entries of a level; x-ored into one for frame 0, in any form."""
    return words << np.uint64(form.page_size.bit_length() - 1) & frame_bits(form, level)


def frame_bits(form: PagingFormat, level: Level) -> np.uint64:
    """The bits of an entry of a level that hold its frame."""
    return np.uint64((1 << form.physical_bits) - level.span)


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
