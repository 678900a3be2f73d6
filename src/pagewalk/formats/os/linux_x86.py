"""Linux on x86-64.

Source: ``arch/x86/include/asm/pgtable_types.h``, ``pgtable_64.h``, ``pgtable-invert.h`` (6.18 and 7.3).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import RIGHTS, Field, flag
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, swap_rows
from pagewalk.formats.rows import Row

if TYPE_CHECKING:
    from pagewalk.formats.bits import Bits as Part

__all__ = ["linux_x86"]

_STRAY = bit(5, 6)
"""A and D, which a Xeon Phi sets in empty entries (_PAGE_KNL_ERRATUM_MASK): ``pte_none`` does not look at them."""
_WATCHED = 10
"""_PAGE_SOFTW2: write-protected by userfaultfd; from 7.3 on, of a page without rights: watched by it (RWP)."""

STATE = (
    flag("special", 9, Flag.SPECIAL),  # _PAGE_SOFTW1
    flag("uffd_wp", _WATCHED, Flag.UFFD_WP),
    flag("soft_dirty", 11, Flag.SOFT_DIRTY),  # _PAGE_SOFTW3
    flag("saved_dirty", 58, Flag.SAVED_DIRTY),  # _PAGE_SAVED_DIRTY
)
SWAP_FLAGS = (
    flag("soft_dirty", 1, Flag.SOFT_DIRTY),  # _PAGE_SWP_SOFT_DIRTY
    flag("uffd_wp", 2, Flag.UFFD_WP),  # _PAGE_SWP_UFFD_WP
    flag("exclusive", 3, Flag.EXCLUSIVE),  # _PAGE_SWP_EXCLUSIVE
)


def linux_x86(levels: int = 4, linux: Linux = LINUX, more: tuple[Field, ...] = ()) -> Layer:
    """Linux's part of the format.

    Args:
        levels: 4 or 5: with 5, frame numbers are wider.
        linux: The kernel.
        more: Further fields of a page, in bits that are left over.
    """
    state = (*STATE, *more)

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(EVERY ^ _STRAY, 0),))
        if not place.pages:
            return none, Row(Kind.OTHER, (Pattern(bit(0), 0),))
        huge = 0 if place.last else bit(7)
        swap = Swap(
            Pattern(bit(0, 8) | huge, 0),
            Bits(run(63, 59), down=59),
            Bits(run(58, 9), up=3, flip=True),
            34 if levels == 4 else 40,  # MAX_PHYSMEM_BITS is 46, or 52
            SWAP_FLAGS,
        )
        return none, *_without_rights(place, huge, linux, state), *swap_rows(swap, linux.types)

    return Layer(linux.name, absent, state)


def _without_rights(place: Place, huge: int, linux: Linux, state: tuple[Field, ...]) -> tuple[Row, ...]:
    """Pages that are there for the kernel alone: _PAGE_PROTNONE is bit 8, frames are stored inverted."""
    frame: tuple[Part, ...] = tuple(part._replace(mask=part.mask, flip=True) for part in place.frame)
    fields = (*_kept(place.fields), *state)
    shut = Row(Kind.PROT_NONE, (Pattern(bit(0, 8), bit(8)),), frame, fields, sets=huge)
    rows = [shut]
    if linux.version >= (7, 3):
        watched = Pattern(bit(0, 8, _WATCHED), bit(8, _WATCHED))
        rows.insert(0, replace(shut, when=(watched,), name="rwp"))
    if huge:
        rows.append(Row(Kind.PROT_NONE, (Pattern(bit(0, 7, 8), bit(7)),), frame, fields, name="splitting"))
    return tuple(rows)


def _kept(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """The hardware's fields that such a page keeps: state and memory type; rights and the global bit mean nothing."""
    return tuple(one for one in fields if Flag.GLOBAL not in one.flags and one.name != RIGHTS)
