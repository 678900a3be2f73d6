"""What an entry says, in words that all architectures share.

``Flag`` is one set of bits for every format; ``Kind`` says what occupies an entry. Both are plain integers, so that an
array of them means the same as a scalar. ``Rights`` are what one level grants: ANDed over the levels they are what a
page grants, and ``flags_of`` says that as flags.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

__all__ = ["GRANTED", "Flag", "Kind", "Rights", "flags_of"]


class Flag(IntFlag):
    """Rights and state of a mapping. Rights are effective: what every level on the way grants."""

    READ = 1 << 0
    WRITE = 1 << 1
    EXEC = 1 << 2
    USER = 1 << 3
    GLOBAL = 1 << 4
    ACCESSED = 1 << 5
    DIRTY = 1 << 6
    SPECIAL = 1 << 7
    """Linux: no struct page behind it (the zero page, device memory)."""
    SOFT_DIRTY = 1 << 8
    UFFD_WP = 1 << 9
    """Write-protected by userfaultfd."""
    EXCLUSIVE = 1 << 10
    """Mapped by this process only (a swap entry's exclusive bit; pagemap's bit 56 in a capture)."""
    FILE = 1 << 11
    """File or shared-anonymous page. Known in a capture only."""
    NO_FRAME = 1 << 12
    """The page is there, its frame number is not known (a capture without CAP_SYS_ADMIN)."""
    SAVED_DIRTY = 1 << 13
    """Linux on x86: dirty, kept aside in bit 58 while the page is not writable (6.6, for shadow stacks)."""
    REPEATED = 1 << 14
    """Of a row of a listing: every page of the row maps the one frame at ``paddr`` (the zero page, KASAN's shadow)."""
    OUTSIDE = 1 << 15
    """Of a row of a listing: its frame is outside a memory that claims to hold frames (a file does, a capture not)."""
    KERNEL_EXEC = 1 << 23
    """The user may access it, and only the kernel may execute it."""
    GROUPED = 1 << 31
    """One of a group of entries that the hardware may hold as one (contiguous entries, NAPOT)."""

    @classmethod
    def rights(cls) -> Flag:
        """The flags that every level on the way must grant; ``KERNEL_EXEC`` follows from what they do."""
        return cls.READ | cls.WRITE | cls.EXEC | cls.USER


class Kind(IntEnum):
    """What occupies an entry."""

    NONE = 0
    PRESENT = 1
    PROT_NONE = 2
    """A page that is there, with no rights: the MMU sees nothing. (Also one that userfaultfd watches, and a huge page
    that is just being split.)"""
    SWAP = 3
    MIGRATION = 4
    GUARD = 5
    UFFD_WP = 6
    """A marker: userfaultfd write protection on a page that is not there."""
    HWPOISON = 7
    OTHER = 8
    """Not present, and none of the above (device memory, an entry of another operating system)."""
    TABLE = 9
    """Of an entry: it points to a table."""
    RESERVED = 10
    """Of an entry: an encoding that the hardware takes for present, and faults on."""

    @property
    def label(self) -> str:
        """The lower-case name, as tables and JSON show it."""
        return self.name.lower()


class Rights(IntFlag):
    """What one level grants, to the kernel and to the user."""

    KERNEL_READ = 1
    KERNEL_WRITE = 2
    KERNEL_EXEC = 4
    USER_READ = 8
    USER_WRITE = 16
    USER_EXEC = 32

    @classmethod
    def all(cls) -> Rights:
        """Every right."""
        return cls(63)


BARE: Final = 64
"""Beside the rights that tables grant: they are of a window of which the operating system says nothing."""
GRANTED: Final = Flag.rights() | Flag.KERNEL_EXEC
"""Every flag that rights can be told by."""


def flags_of(rights: int) -> Flag:
    """Rights as flags: those of the user where it has any (``Flag.USER``), else the kernel's."""
    user = rights >> 3 & 7
    if not user:
        return Flag(rights & 7)
    alone = rights & Rights.KERNEL_EXEC and not rights & Rights.USER_EXEC
    return Flag(user | Flag.USER | (Flag.KERNEL_EXEC if alone else 0))
