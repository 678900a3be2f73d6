"""Linux on 32-bit x86, with PAE and without.

Source: ``arch/x86/include/asm/pgtable-2level.h``, ``pgtable-3level.h``, ``pgtable-invert.h``, ``pgtable_types.h``
(6.18, and 4.17 for what was before L1TF). Neither soft-dirty pages nor write protection by userfaultfd are there
(``arch/x86/Kconfig``), nor pages in a device's own memory (ZONE_DEVICE needs 64 bits).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import RIGHTS, flag, number
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, swap_rows, with_files
from pagewalk.formats.rows import Row

if TYPE_CHECKING:
    from pagewalk.formats.fields import Field

__all__ = ["linux_ia32"]

_SPECIAL: Final = flag("special", 9, Flag.SPECIAL)  # _PAGE_SOFTW1
_SAVED_DIRTY: Final = flag("saved_dirty", 10, Flag.SAVED_DIRTY)  # _PAGE_SOFTW2, which on 64 bits is uffd_wp's
_EXCLUSIVE: Final = flag("exclusive", 7, Flag.EXCLUSIVE)  # _PAGE_SWP_EXCLUSIVE is _PAGE_PSE

_STATE: Final = (((6, 6), (_SPECIAL, _SAVED_DIRTY)), ((3, 10), (_SPECIAL,)))
_SWAP_FLAGS: Final = (((6, 3), (_EXCLUSIVE,)), ((3, 10), ()))
_HIDDEN: Final = Pattern(bit(0, 8), 0)
_SWAP: Final = Swap(_HIDDEN, Bits(run(5, 1), down=1), Bits(run(31, 9), up=3), 20)
"""Without PAE nothing was ever inverted: an offset has no bits to spare. MAX_PHYSMEM_BITS is 32; with PAE it is 36."""
_WIDE_SWAP: Final = {
    True: Swap(_HIDDEN, Bits(run(63, 59), down=59), Bits(run(58, 9), up=3, flip=True), 24),  # as on x86-64
    False: Swap(_HIDDEN, Bits(run(36, 32), down=32), Bits(run(63, 37), down=25), 24),
}
"""With L1TF's fix, and without."""
_FILE: Final = bit(6)  # _PAGE_FILE is _PAGE_DIRTY
_FILE_OFFSET: Final = number("file_offset", 63, 32)
"""With PAE; without, it lies in three parts of an entry."""
_EMPTY: Final = run(31, 0)
_WIDE_EMPTY: Final = (((4, 8), EVERY ^ bit(5, 6)), ((3, 10), EVERY))
"""Bits that are clear in an empty entry. A Xeon Phi sets A and D (_PAGE_KNL_ERRATUM_MASK), with PAE only."""


def linux_ia32(*, wide: bool, linux: Linux = LINUX) -> Layer:
    """Linux's part of the format.

    Args:
        wide: Entries have 8 bytes: PAE.
        linux: The kernel.

    Raises:
        UnsupportedError: It has an option of another architecture.
    """
    state = linux.on("x86").at(_STATE)
    stored = replace(_WIDE_SWAP[linux.has("l1tf")] if wide else _SWAP, flags=linux.at(_SWAP_FLAGS))
    empty = linux.at(_WIDE_EMPTY) if wide else _EMPTY
    types = linux.usually(device_private=False, pte_marker=False).types

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(empty, 0),))
        if not place.pages:
            return none, Row(Kind.OTHER, (Pattern(bit(0), 0),))
        huge = 0 if place.last else bit(7)
        shut = _without_rights(place, huge, state, flip=stored.offset.flip)
        if not huge:
            swap, files = with_files(stored, linux, _FILE, (_FILE_OFFSET,) if wide else ())
            return none, shut, *files, *swap_rows(swap, types)
        # ``pmd_present`` looks at PSE as well: alone it is a transparent huge page that is being split
        splitting = replace(shut, when=(Pattern(bit(0, 7, 8), bit(7)),), sets=0, name="splitting")
        swap = replace(stored, base=Pattern(bit(0, 7, 8), 0), flags=())
        return none, shut, splitting, *swap_rows(swap, types)

    return Layer(linux.name, absent, state)


def _without_rights(place: Place, huge: int, state: tuple[Field, ...], *, flip: bool) -> Row:
    """Pages that are there for the kernel alone: _PAGE_PROTNONE is bit 8; frames are inverted where offsets are."""
    frame = tuple(part._replace(flip=flip) for part in place.frame)
    kept = tuple(one for one in place.fields if Flag.GLOBAL not in one.flags and one.name != RIGHTS)
    return Row(Kind.PROT_NONE, (Pattern(bit(0, 8), bit(8)),), frame, (*kept, *state), sets=huge)
