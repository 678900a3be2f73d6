"""Linux on RISC-V, 6.12 and newer.

Source: ``arch/riscv/include/asm/pgtable-bits.h``, ``pgtable.h`` (7.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import MEMORY, RIGHTS, flag, number
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, swap_rows
from pagewalk.formats.rows import Row

__all__ = ["linux_riscv"]

PRESENT, PROT_NONE, LEAF, NAPOT = bit(0), bit(5), bit(1, 2, 3), bit(63)
SIZE: Final = Pattern(run(13, 10), bit(13))
"""64 KiB, in the low bits of a NAPOT page's number."""
STATE: Final = (flag("special", 8, Flag.SPECIAL),)  # _PAGE_SPECIAL
SWAP_FLAGS: Final = (
    flag("soft_dirty", 3, Flag.SOFT_DIRTY),  # _PAGE_SWP_SOFT_DIRTY
    flag("uffd_wp", 4, Flag.UFFD_WP),  # _PAGE_SWP_UFFD_WP
    flag("exclusive", 6, Flag.EXCLUSIVE),  # _PAGE_SWP_EXCLUSIVE
)


def linux_riscv(linux: Linux = LINUX) -> Layer:
    """Linux's part of the format.

    Args:
        linux: The kernel.
    """

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(EVERY, 0),))
        base = PRESENT | PROT_NONE | (0 if place.last else LEAF)  # ``pmd_present`` looks at R, W and X as well
        flags = tuple(one for one in SWAP_FLAGS if not one.mask & base)
        swap = Swap(Pattern(base, 0), Bits(run(11, 7), down=7), Bits(run(63, 12)), 44, flags)
        return none, *_without_rights(place), *swap_rows(swap, linux.types)

    return Layer(linux.name, absent, STATE)


def _without_rights(place: Place) -> list[Row]:
    """Pages that are there for the kernel alone: _PAGE_PROT_NONE is the bit of global pages."""
    kept = tuple(one for one in place.fields if one.name not in (RIGHTS, MEMORY) and Flag.GLOBAL not in one.flags)
    fields = (*kept, number(MEMORY, 62, 61), *STATE)
    shut = Row(Kind.PROT_NONE, (Pattern(PRESENT | PROT_NONE, PROT_NONE),), place.frame, fields)
    if place.last:
        return _napot(shut, place.order)
    splitting = tuple(Pattern(PRESENT | PROT_NONE | one, one) for one in (bit(1), bit(2), bit(3)))
    return [shut, replace(shut, when=splitting, name="splitting")]


def _napot(shut: Row, order: int) -> list[Row]:
    """Such pages of 64 KiB (``pte_pfn`` looks at N in them too), what only says so, and those that stand alone."""
    ((mask, value),), (frame,) = shut.when, shut.address
    large = Pattern(mask | NAPOT | SIZE.mask, value | NAPOT | SIZE.value)
    return [
        replace(shut, when=(large,), address=(frame._replace(mask=frame.mask & ~SIZE.mask),), order=order),
        replace(shut, when=(Pattern(mask | NAPOT, value | NAPOT),), name="odd"),
        replace(shut, when=(Pattern(mask | NAPOT, value),)),
    ]
