"""Linux on x86-64.

Source: ``arch/x86/include/asm/pgtable_types.h``, ``pgtable_64.h``, ``pgtable-invert.h`` (3.10, 4.4, 4.14, 5.10, 6.1,
6.12, 6.18, 7.3).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import RIGHTS, Field, flag, number
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, swap_rows, with_files
from pagewalk.formats.rows import Row

if TYPE_CHECKING:
    from pagewalk.formats.bits import Bits as Part

__all__ = ["linux_x86"]

_STRAY: Final = bit(5, 6)
"""A and D, which a Xeon Phi sets in empty entries (_PAGE_KNL_ERRATUM_MASK): ``pte_none`` does not look at them."""
_WATCHED: Final = 10
"""_PAGE_SOFTW2: write-protected by userfaultfd; from 7.3 on, of a page without rights: watched by it (RWP)."""

SPECIAL: Final = flag("special", 9, Flag.SPECIAL)  # _PAGE_SOFTW1
UFFD_WP: Final = flag("uffd_wp", _WATCHED, Flag.UFFD_WP)
SOFT_DIRTY: Final = flag("soft_dirty", 11, Flag.SOFT_DIRTY)  # _PAGE_SOFTW3
SAVED_DIRTY: Final = flag("saved_dirty", 58, Flag.SAVED_DIRTY)  # _PAGE_SAVED_DIRTY; before 6.6 _PAGE_DEVMAP
SWP_SOFT_DIRTY: Final = flag("soft_dirty", 1, Flag.SOFT_DIRTY)  # _PAGE_SWP_SOFT_DIRTY
SWP_UFFD_WP: Final = flag("uffd_wp", 2, Flag.UFFD_WP)  # _PAGE_SWP_UFFD_WP
SWP_EXCLUSIVE: Final = flag("exclusive", 3, Flag.EXCLUSIVE)  # _PAGE_SWP_EXCLUSIVE
_OLD_SOFT_DIRTY: Final = flag("soft_dirty", 7, Flag.SOFT_DIRTY)  # _PAGE_PSE: PTEs alone were swapped then


class _Stored(NamedTuple):
    """Where a swap entry keeps its type and its offset.

    Attributes:
        type, offset: The bits.
        flip: Offsets are stored inverted, and frames of pages without rights as well: speculation goes nowhere then.
    """

    type: int
    offset: int
    flip: bool = False


_FIXED: Final = _Stored(run(63, 59), run(58, 9), flip=True)
"""With L1TF's fix (pgtable-invert.h): from 4.19 on, and as an update of August 2018 in 4.18 and older kernels."""
_STORED: Final = (
    ((4, 8), _Stored(run(13, 9), run(63, 14))),  # "Move swap offset/type up in PTE to work around erratum"
    ((3, 10), _Stored(run(5, 1), run(63, 9))),
)
"""Without it, by version."""
_EMPTY: Final = (((4, 8), EVERY ^ _STRAY), ((3, 10), EVERY))
"""The bits of an empty entry."""

_STATE: Final = (
    ((6, 6), (SPECIAL, UFFD_WP, SOFT_DIRTY, SAVED_DIRTY)),
    ((5, 7), (SPECIAL, UFFD_WP, SOFT_DIRTY)),
    ((3, 11), (SPECIAL, SOFT_DIRTY)),
    ((3, 10), (SPECIAL,)),
)
_SWAP_FLAGS: Final = (
    ((5, 19), (SWP_SOFT_DIRTY, SWP_UFFD_WP, SWP_EXCLUSIVE)),
    ((5, 7), (SWP_SOFT_DIRTY, SWP_UFFD_WP)),
    ((4, 14), (SWP_SOFT_DIRTY,)),
    ((3, 11), (_OLD_SOFT_DIRTY,)),
    ((3, 10), ()),
)
_FILE: Final = bit(6)
"""_PAGE_FILE, the bit of dirty pages; ``pte_present`` goes first."""
_FILE_OFFSET: Final = number("file_offset", 45, 12)
"""PTE_FILE_MAX_BITS is __PHYSICAL_MASK_SHIFT, 46."""
_RWP: Final = (((7, 3), True), ((3, 10), False))
"""Whether userfaultfd watches pages by taking their rights away."""


def linux_x86(levels: int = 4, linux: Linux = LINUX, more: tuple[Field, ...] = ()) -> Layer:
    """Linux's part of the format.

    Args:
        levels: 4 or 5: with 5, frame numbers are wider.
        linux: The kernel.
        more: Further fields of a page, in bits that are left over.

    Raises:
        UnsupportedError: The kernel has an option of another architecture.
    """
    fixed = linux.on("x86").has("l1tf")
    stored, state = _FIXED if fixed else linux.at(_STORED), (*linux.at(_STATE), *more)

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(linux.at(_EMPTY), 0),))
        if not place.pages:
            return none, Row(Kind.OTHER, (Pattern(bit(0), 0),))
        huge = 0 if place.last else bit(7)
        low = (stored.offset & -stored.offset).bit_length() - 1
        base = bit(0, 8) | huge
        swap = Swap(
            Pattern(base, 0),
            Bits(stored.type, down=(stored.type & -stored.type).bit_length() - 1),
            Bits(stored.offset, up=max(12 - low, 0), down=max(low - 12, 0), flip=stored.flip),
            34 if levels == 4 else 40,  # MAX_PHYSMEM_BITS is 46, or 52
            tuple(one for one in linux.at(_SWAP_FLAGS) if not one.mask & base),
        )
        swap, files = with_files(swap, linux, _FILE, (_FILE_OFFSET,)) if place.last else (swap, ())
        return none, *_without_rights(place, linux, state, huge=huge), *files, *swap_rows(swap, linux.types)

    return Layer(linux.name, absent, state, user_only=True)


def _without_rights(place: Place, linux: Linux, state: tuple[Field, ...], *, huge: int) -> tuple[Row, ...]:
    """Pages that are there for the kernel alone: _PAGE_PROTNONE is bit 8."""
    frame: tuple[Part, ...] = tuple(part._replace(flip=linux.has("l1tf")) for part in place.frame)
    fields = (*_kept(place.fields), *state)
    shut = Row(Kind.PROT_NONE, (Pattern(bit(0, 8), bit(8)),), frame, fields, sets=huge)
    rows = [shut]
    if linux.at(_RWP):
        watched = Pattern(bit(0, 8, _WATCHED), bit(8, _WATCHED))
        rows.insert(0, replace(shut, when=(watched,), name="rwp"))
    if huge:
        rows.append(Row(Kind.PROT_NONE, (Pattern(bit(0, 7, 8), bit(7)),), frame, fields, name="splitting"))
    return tuple(rows)


def _kept(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """The hardware's fields that such a page keeps: state and memory type; rights and the global bit mean nothing."""
    return tuple(one for one in fields if Flag.GLOBAL not in one.flags and one.name != RIGHTS)
