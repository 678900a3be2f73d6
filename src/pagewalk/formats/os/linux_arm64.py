"""Linux on arm64: 5.10 and newer; older kernels are read as 5.10 is.

Source: ``arch/arm64/include/asm/pgtable.h``, ``pgtable-prot.h`` (5.10, 6.1, 6.12, 7.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import Field, flag
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux import LINUX, Linux, Swap, swap_rows
from pagewalk.formats.rows import Row, grouped

__all__ = ["linux_arm64"]

VALID, PAGE, AP1, PRESENT_INVALID, CONTIGUOUS, UXN, WATCHED = (bit(place) for place in (0, 1, 6, 11, 52, 54, 58))
OLD_PROT_NONE, OLD_INVALID = bit(58), bit(59)
DIRTY: Final = flag("dirty", 55, Flag.DIRTY)  # PTE_DIRTY
SPECIAL: Final = flag("special", 56, Flag.SPECIAL)  # PTE_SPECIAL
UFFD_WP: Final = flag("uffd_wp", 58, Flag.UFFD_WP)  # PTE_UFFD_WP
EXCLUSIVE: Final = flag("exclusive", 2, Flag.EXCLUSIVE)  # PTE_SWP_EXCLUSIVE
SWP_UFFD_WP: Final = flag("uffd_wp", 3, Flag.UFFD_WP)  # PTE_SWP_UFFD_WP


class _Kept(NamedTuple):
    """What entries that are not valid hold.

    Attributes:
        shut: A page without rights (PTE_PROT_NONE).
        invalid: A page made invalid for a moment; above the last level alone, if ``huge``.
        huge: Whether only pages above the last level are.
        type, offset: The bits of a swap entry's.
        state: Fields of a page.
        flags: Fields of a swap entry.
    """

    shut: Pattern
    invalid: Pattern
    huge: bool
    type: Bits
    offset: int
    state: tuple[Field, ...]
    flags: tuple[Field, ...] = ()


_SHUT: Final = Pattern(VALID | PRESENT_INVALID | AP1 | UXN, PRESENT_INVALID | UXN)
_INVALID: Final = Pattern(VALID | PRESENT_INVALID, PRESENT_INVALID)
_OLD: Final = _Kept(
    Pattern(VALID | OLD_PROT_NONE, OLD_PROT_NONE),
    Pattern(VALID | OLD_PROT_NONE | OLD_INVALID, OLD_INVALID),  # PMD_PRESENT_INVALID
    True,
    Bits(run(7, 2), down=2),
    run(57, 8),
    (DIRTY, SPECIAL),
)
_KEPT: Final = (
    (
        (6, 10),
        _Kept(
            _SHUT,
            _INVALID,
            False,
            Bits(run(10, 6), down=6),
            run(61, 12),
            (DIRTY, SPECIAL, UFFD_WP),
            (EXCLUSIVE, SWP_UFFD_WP),
        ),
    ),
    ((5, 19), _OLD._replace(type=Bits(run(7, 3), down=3), flags=(EXCLUSIVE,))),
    ((3, 10), _OLD),
)
"""By version. 6.10 has the series "arm64/mm: Enable userfaultfd write-protect" (merged for it on 7 May 2024)."""
_RWP: Final = (((7, 3), True), ((3, 10), False))
"""Whether userfaultfd watches pages by taking their rights away."""


def linux_arm64(page_shift: int = 12, linux: Linux = LINUX) -> Layer:
    """Linux's part of the format.

    Args:
        page_shift: log2 of the granule: swap offsets count in pages.
        linux: The kernel.

    Raises:
        UnsupportedError: It has an option of another architecture.
    """
    kept = linux.on("arm64").at(_KEPT)
    low = (kept.offset & -kept.offset).bit_length() - 1
    held = kept.offset & run(63 - page_shift + low, low)  # no device has more than 2 to the 64 bytes
    offset = Bits(held, up=page_shift - low)
    shut, invalid = (pattern.mask & ~(AP1 | UXN) for pattern in (kept.shut, kept.invalid))

    def absent(place: Place) -> tuple[Row, ...]:
        none = Row(Kind.NONE, (Pattern(EVERY, 0),))
        if not place.pages:
            return none, Row(Kind.OTHER, (Pattern(VALID, 0),))
        base = Pattern(shut if kept.huge and place.last else shut | invalid, 0)
        swap = Swap(base, kept.type, offset, 52 - page_shift, kept.flags)
        return none, *_without_rights(place, linux, kept), *swap_rows(swap, linux.types)

    return Layer(linux.name, absent, kept.state, user_only=True)


def _without_rights(place: Place, linux: Linux, kept: _Kept) -> list[Row]:
    """Pages that are there for the kernel alone: PROT_NONE, or made invalid for a moment."""
    fields: tuple[Field, ...] = tuple(one for one in (*place.fields, *kept.state) if Flag.GLOBAL not in one.flags)
    shut = Row(Kind.PROT_NONE, (kept.shut,), place.frame, fields, sets=PAGE if place.last else 0)
    rows = [shut]
    if linux.at(_RWP):
        watched = Pattern(kept.shut.mask | WATCHED, kept.shut.value | WATCHED)
        rows.insert(0, replace(shut, when=(watched,), name="rwp"))
    if not (kept.huge and place.last):
        rows.append(replace(shut, when=(kept.invalid,), name="invalid"))
    return [each for row in rows for each in grouped(row, CONTIGUOUS, place.order)]
