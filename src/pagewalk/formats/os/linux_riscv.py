"""Linux on RISC-V: 5.10 and newer; older kernels are read as 5.10 is.

On a CPU with Svrsw60t59b, which leaves two more bits to software, it has soft-dirty pages and userfaultfd's write
protection; on others neither, not in swap entries either.

Source: ``arch/riscv/include/asm/pgtable-bits.h``, ``pgtable.h`` (5.10, 6.1, 6.12, 7.2, 7.3).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import MEMORY, RIGHTS, Field, flag, number
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, swap_rows
from pagewalk.formats.rows import Row

__all__ = ["linux_riscv"]

PRESENT, LEAF, NAPOT = bit(0), bit(1, 2, 3), bit(63)
SIZE: Final = Pattern(run(13, 10), bit(13))
"""64 KiB, in the low bits of a NAPOT page's number."""
WATCHED: Final = bit(60)
SPECIAL: Final = flag("special", 8, Flag.SPECIAL)  # _PAGE_SPECIAL
SOFT_DIRTY: Final = flag("soft_dirty", 59, Flag.SOFT_DIRTY)  # _PAGE_SOFT_DIRTY
UFFD_WP: Final = flag("uffd_wp", 60, Flag.UFFD_WP)  # _PAGE_UFFD; before 7.3 _PAGE_UFFD_WP
EXCLUSIVE: Final = flag("exclusive", 6, Flag.EXCLUSIVE)  # _PAGE_SWP_EXCLUSIVE
SWP_SOFT_DIRTY: Final = flag("soft_dirty", 3, Flag.SOFT_DIRTY)  # _PAGE_SWP_SOFT_DIRTY
SWP_UFFD_WP: Final = flag("uffd_wp", 4, Flag.UFFD_WP)  # _PAGE_SWP_UFFD_WP


class _Kept(NamedTuple):
    """What entries that are not valid hold.

    Attributes:
        shut: The bit of a page without rights (_PAGE_PROT_NONE).
        leaf: Bits of a page above the last level that is being split: ``pmd_present`` looks at them.
        type, offset: The bits of a swap entry's.
        flags: Fields of a swap entry.
    """

    shut: int
    leaf: int
    type: Bits
    offset: int
    flags: tuple[Field, ...] = ()


_LATE: Final = _Kept(bit(5), LEAF, Bits(run(11, 7), down=7), run(63, 12), (EXCLUSIVE,))
_KEPT: Final = (
    ((6, 3), _LATE),
    ((5, 17), _Kept(bit(5), LEAF, Bits(run(10, 6), down=6), run(63, 11))),
    ((3, 10), _Kept(bit(1), 0, Bits(run(6, 2), down=2), run(63, 7))),
)
"""By version. 6.1 and 6.12 were read; that 5.17 moved PROT_NONE from R to G says the patch, "Adjust PAGE_PROT_NONE to
comply with THP semantics" of 23 November 2021, between 5.16-rc1 and the next merge window."""
_RWP: Final = (((7, 3), True), ((3, 10), False))
"""Whether userfaultfd watches pages by taking their rights away; where it has a bit to mark them with."""


def linux_riscv(linux: Linux = LINUX) -> Layer:
    """Linux's part of the format.

    Args:
        linux: The kernel.

    Raises:
        UnsupportedError: It has an option of another architecture.
    """
    kept, more = linux.on("RISC-V").at(_KEPT), linux.has("svrsw60t59b")
    state: tuple[Field, ...] = (SPECIAL,)
    if more:
        kept = kept._replace(flags=(SWP_SOFT_DIRTY, SWP_UFFD_WP, *kept.flags))
        state = (SPECIAL, SOFT_DIRTY, UFFD_WP)
    watches = more and linux.at(_RWP)
    low = (kept.offset & -kept.offset).bit_length() - 1

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(EVERY, 0),))
        base = PRESENT | kept.shut | (0 if place.last else kept.leaf)
        flags = tuple(one for one in kept.flags if not one.mask & base)
        swap = Swap(Pattern(base, 0), kept.type, Bits(kept.offset, up=12 - low), 44, flags)
        return none, *_without_rights(place, kept, state, watches=watches), *swap_rows(swap, linux.types)

    return Layer(linux.name, absent, state, user_only=True)


def _without_rights(place: Place, kept: _Kept, state: tuple[Field, ...], *, watches: bool) -> list[Row]:
    """Pages that are there for the kernel alone, by the bit that makes them so."""
    own = tuple(one for one in place.fields if one.name not in (RIGHTS, MEMORY) and Flag.GLOBAL not in one.flags)
    fields = (*own, number(MEMORY, 62, 61), *state)
    shut = Row(Kind.PROT_NONE, (Pattern(PRESENT | kept.shut, kept.shut),), place.frame, fields)
    rwp = replace(shut, when=(Pattern(PRESENT | kept.shut | WATCHED, kept.shut | WATCHED),), name="rwp")
    if place.last:
        watched = [row for row in _napot(rwp, place.order) if row.name == "rwp"] if watches else []
        return [*watched, *_napot(shut, place.order)]
    rows = [rwp, shut] if watches else [shut]
    if not kept.leaf:
        return rows
    splitting = tuple(Pattern(PRESENT | kept.shut | one, one) for one in (bit(1), bit(2), bit(3)))
    return [*rows, replace(shut, when=splitting, name="splitting")]


def _napot(shut: Row, order: int) -> list[Row]:
    """Such pages of 64 KiB (``pte_pfn`` looks at N in them too), what only says so, and those that stand alone."""
    ((mask, value),), (frame,) = shut.when, shut.address
    large = Pattern(mask | NAPOT | SIZE.mask, value | NAPOT | SIZE.value)
    return [
        replace(shut, when=(large,), address=(frame._replace(mask=frame.mask & ~SIZE.mask),), order=order),
        replace(shut, when=(Pattern(mask | NAPOT, value | NAPOT),), name="odd"),
        replace(shut, when=(Pattern(mask | NAPOT, value),)),
    ]
