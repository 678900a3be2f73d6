"""Linux on arm64, 6.12 and newer.

Source: ``arch/arm64/include/asm/pgtable.h``, ``pgtable-prot.h`` (7.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import Field, flag
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, swap_rows
from pagewalk.formats.rows import Row, grouped

__all__ = ["linux_arm64"]

VALID, PAGE, AP1, PRESENT_INVALID, CONTIGUOUS, UXN, WATCHED = (bit(place) for place in (0, 1, 6, 11, 52, 54, 58))
STATE: Final = (
    flag("dirty", 55, Flag.DIRTY),  # PTE_DIRTY
    flag("special", 56, Flag.SPECIAL),  # PTE_SPECIAL
    flag("uffd_wp", 58, Flag.UFFD_WP),  # PTE_UFFD_WP
)
SWAP_FLAGS: Final = (flag("exclusive", 2, Flag.EXCLUSIVE), flag("uffd_wp", 3, Flag.UFFD_WP))


def linux_arm64(page_shift: int = 12, linux: Linux = LINUX) -> Layer:
    """Linux's part of the format.

    Args:
        page_shift: log2 of the granule: swap offsets count in pages.
        linux: The kernel.
    """
    offset = Bits(run(min(61, 75 - page_shift), 12), up=page_shift - 12)
    swap = Swap(Pattern(VALID | PRESENT_INVALID, 0), Bits(run(10, 6), down=6), offset, 52 - page_shift, SWAP_FLAGS)

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(EVERY, 0),))
        if not place.pages:
            return none, Row(Kind.OTHER, (Pattern(VALID, 0),))
        return none, *_without_rights(place, linux), *swap_rows(swap, linux.types)

    return Layer(linux.name, absent, STATE)


def _without_rights(place: Place, linux: Linux) -> list[Row]:
    """Pages that are there for the kernel alone (PTE_PRESENT_INVALID): PROT_NONE, or made invalid for a moment."""
    fields: tuple[Field, ...] = tuple(one for one in (*place.fields, *STATE) if Flag.GLOBAL not in one.flags)
    kept = PAGE if place.last else 0
    shut = Pattern(VALID | PRESENT_INVALID | AP1 | UXN, PRESENT_INVALID | UXN)
    rows = [Row(Kind.PROT_NONE, (shut,), place.frame, fields, sets=kept)]
    if linux.version >= (7, 3):
        watched = Pattern(shut.mask | WATCHED, shut.value | WATCHED)
        rows.insert(0, replace(rows[0], when=(watched,), name="rwp"))
    rows.append(replace(rows[-1], when=(Pattern(VALID | PRESENT_INVALID, PRESENT_INVALID),), name="invalid"))
    return [each for row in rows for each in grouped(row, CONTIGUOUS, place.order)]
