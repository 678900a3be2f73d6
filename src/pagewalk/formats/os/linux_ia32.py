"""Linux on 32-bit x86, with PAE and without.

Source: ``arch/x86/include/asm/pgtable-2level.h``, ``pgtable-3level.h``, ``pgtable-invert.h``, ``pgtable_types.h``
(6.18). Neither soft-dirty pages nor write protection by userfaultfd are there (``arch/x86/Kconfig``), nor pages in a
device's own memory (ZONE_DEVICE needs 64 bits).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pagewalk.formats.bits import Bits, Pattern, bit, run
from pagewalk.formats.fields import RIGHTS, Field, flag
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, SwapTypes, swap_rows
from pagewalk.formats.rows import Row

__all__ = ["linux_ia32"]

_STRAY: Final = bit(5, 6)
"""A and D, which a Xeon Phi sets in empty entries: with PAE only, ``pte_none`` does not look at them."""
_SPECIAL: Final = flag("special", 9, Flag.SPECIAL)  # _PAGE_SOFTW1
_SINCE: Final = {
    "exclusive": ((6, 3), flag("exclusive", 7, Flag.EXCLUSIVE)),  # _PAGE_SWP_EXCLUSIVE is _PAGE_PSE
    "saved_dirty": ((6, 6), flag("saved_dirty", 10, Flag.SAVED_DIRTY)),  # _PAGE_SOFTW2: uffd_wp's on 64 bits
}
"""What came with which version."""
_WIDE_SWAP: Final = Swap(Pattern(bit(0, 8), 0), Bits(run(63, 59), down=59), Bits(run(58, 9), up=3, flip=True), 24)
"""With PAE swap is stored as on x86-64; MAX_PHYSMEM_BITS is 36."""
_SWAP: Final = Swap(Pattern(bit(0, 8), 0), Bits(run(5, 1), down=1), Bits(run(31, 9), up=3), 20)
"""Without, nothing is inverted: an offset has no bits to spare."""


def linux_ia32(*, wide: bool, linux: Linux = LINUX) -> Layer:
    """Linux's part of the format.

    Args:
        wide: Entries have 8 bytes: PAE.
        linux: The kernel.
    """
    state = (_SPECIAL, *_known("saved_dirty", linux))
    exclusive = _known("exclusive", linux)
    every = run(63 if wide else 31, 0)
    types = _without_devices(linux.types)

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(every ^ _STRAY if wide else every, 0),))
        if not place.pages:
            return none, Row(Kind.OTHER, (Pattern(bit(0), 0),))
        huge = 0 if place.last else bit(7)
        swap = replace(_WIDE_SWAP if wide else _SWAP, flags=exclusive)
        splits = wide and huge  # only PAE has transparent huge pages: there PSE alone is one that is being split
        if splits:
            swap = replace(swap, base=Pattern(bit(0, 7, 8), 0), flags=())
        shut = _without_rights(place, huge, state, wide=wide)
        splitting = replace(shut, when=(Pattern(bit(0, 7, 8), bit(7)),), sets=0, name="splitting")
        return none, shut, *((splitting,) if splits else ()), *swap_rows(swap, types)

    return Layer(linux.name, absent, state)


def _known(name: str, linux: Linux) -> tuple[Field, ...]:
    """A field, if the kernel has it."""
    since, field = _SINCE[name]
    return (field,) if linux.version >= since else ()


def _without_devices(types: SwapTypes) -> SwapTypes:
    """The types of a kernel without those for device memory: what stands below these moves up."""
    many = len(types.device)
    moved = (types.migration[0] + many, types.migration[1] + many, types.migration[2] + many)
    return replace(types, hwpoison=types.hwpoison + many, migration=moved, device=())


def _without_rights(place: Place, huge: int, state: tuple[Field, ...], *, wide: bool) -> Row:
    """Pages that are there for the kernel alone: _PAGE_PROTNONE is bit 8; frames are inverted with PAE."""
    frame = tuple(part._replace(flip=wide) for part in place.frame)
    kept = tuple(one for one in place.fields if Flag.GLOBAL not in one.flags and one.name != RIGHTS)
    return Row(Kind.PROT_NONE, (Pattern(bit(0, 8), bit(8)),), frame, (*kept, *state), sets=huge)
