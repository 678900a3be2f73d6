"""x86-64 with 4-level and 5-level paging.

Source: Intel SDM vol. 3A, 5.4 and 5.5 (tables 5-14 to 5-20); AMD APM vol. 2, 5.3.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Final

from pagewalk.errors import UnsupportedError
from pagewalk.formats.access import NO_RULES, AccessRules
from pagewalk.formats.bits import Bits, Pattern, bit, run
from pagewalk.formats.fields import KEY, MEMORY, RIGHTS, Field, flag, number
from pagewalk.formats.flags import Flag, Kind, Rights
from pagewalk.formats.hardware.x86_access import access_of, memory_types
from pagewalk.formats.level import Level, Window
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux_x86 import linux_x86
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.registers import Chooser, Paging, RegisterFile
from pagewalk.formats.rows import Row
from pagewalk.formats.word import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REGISTERS", "x86_64"]

P, RW, US, A, D, PS, G, XD = (bit(place) for place in (0, 1, 2, 5, 6, 7, 8, 63))
SOFTWARE: Final = run(11, 9) | run(58, 52)
"""Bits of a page's entry that the hardware leaves to software; of a table's also 8, and 59 to 62."""
_TABLE_ACCESSED: Final = Field("accessed", A, ((A, Flag.ACCESSED), (0, Flag(0))))
_WORD: Final = Word()
_NAMES: Final = (("PML5", 48), ("PML4", 39), ("PDPT", 30), ("PD", 21), ("PT", 12))


def _rights(no_execute: bool) -> Field:
    """What is present can be read; R/W, U/S, and XD where EFER.NXE is set."""
    meanings: list[tuple[int, Rights]] = []
    for shut, user, write in product((0, XD) if no_execute else (0,), (0, US), (0, RW)):
        kernel = Rights.KERNEL_READ | (Rights.KERNEL_WRITE if write else 0) | (0 if shut else Rights.KERNEL_EXEC)
        meanings.append((shut | user | write, Rights(kernel | kernel << 3 if user else kernel)))
    names = ((RW, "R/W"), (US, "U/S"), (XD, "XD"))
    return Field(RIGHTS, RW | US | (XD if no_execute else 0), tuple(meanings), names=names)


def _memory(pat: int) -> Field:
    """The entry of the page attribute table that PAT, PCD and PWT select (SDM 5.9.2)."""
    numbers = tuple(((index & 3) << 3 | (index >> 2) << pat, index) for index in range(8))
    return Field(MEMORY, bit(3, 4, pat), numbers)


def x86_64(
    levels: int = 4,
    physical_bits: int = 52,
    layer: Layer | None = None,
    *,
    no_execute: bool = True,
    access: AccessRules = NO_RULES,
) -> PagingFormat:
    """The paging format of x86-64.

    Args:
        levels: 4, or 5 with CR4.LA57.
        physical_bits: MAXPHYADDR; the address bits above it are reserved.
        layer: The operating system's part: Linux's unless given.
        no_execute: EFER.NXE; without it, bit 63 is reserved.
        access: What CR0 and CR4 make of rights.

    Raises:
        ValueError: Not 4 or 5 levels, or a width outside 32..52.
    """
    if levels not in (4, 5) or not 32 <= physical_bits <= 52:
        raise ValueError(f"x86-64 has 4 or 5 levels and 32 to 52 physical bits, not {levels} and {physical_bits}")
    layer = layer or linux_x86(levels)
    wide = run(51, physical_bits) | (0 if no_execute else XD)
    half = 1 << 9 * levels + 11
    return PagingFormat(
        name="x86-64" if levels == 4 else "x86-64-la57",
        word=_WORD,
        hardware=tuple(
            Level(manual, shift, 9, _rows(shift, wide, _rights(no_execute), layer), _WORD, access)
            for manual, shift in _NAMES[5 - levels :]
        ),
        windows=(Window(0, half), Window((1 << 64) - half, 1 << 64)),
        physical_bits=physical_bits,
        system=layer.name,
    )


def _rows(shift: int, wide: int, rights: Field, layer: Layer) -> tuple[Row, ...]:
    """The rows of a level: those of the operating system, then table and page."""
    last, pages = shift == 12, shift <= 30
    state = (
        rights,
        flag("accessed", 5, Flag.ACCESSED),
        flag("dirty", 6, Flag.DIRTY),
        flag("global", 8, Flag.GLOBAL),
        _memory(7 if last else 12),
        number(KEY, 62, 59),
    )
    frame = (Bits(run(51, shift)),)
    rows = list(layer.absent(Place(last, pages, frame, state)))
    inside = run(51, 12) & ~wide
    if not last:
        rows.append(
            Row(
                Kind.TABLE,
                (Pattern(P | PS, P) if pages else Pattern(P, P),),
                (Bits(inside),),
                (rights, _TABLE_ACCESSED),
                Pattern(wide | (0 if pages else PS), 0),
                sets=D,  # Linux's _PAGE_TABLE
                ignored=run(4, 3) | run(11, 8) | run(62, 52),
            )
        )
    if pages:
        own = 0
        for one in layer.state:
            own |= one.mask
        below = 0 if last else run(shift - 1, 13)  # tables 5-16 to 5-20: bit 12 of a large page is PAT
        rows.append(
            Row(
                Kind.PRESENT,
                (Pattern(P, P) if last else Pattern(P | PS, P | PS),),
                (Bits(run(51, shift) & ~wide),),
                (*state, *layer.state),
                Pattern(wide | below, 0),
                ignored=SOFTWARE & ~own,
            )
        )
    return tuple(rows)


# -- registers ---------------------------------------------------------------------------------------------------------

PAGING = bit(31)  # CR0.PG
WIDE_ENTRIES, FIVE_LEVELS, LAM_KERNEL = (bit(place) for place in (5, 12, 28))  # CR4
LONG_MODE, NO_EXECUTE = bit(10), bit(11)  # EFER.LMA, EFER.NXE
LAM_57, LAM_48 = bit(61), bit(62)  # CR3: SDM 4.4


def _read(values: Mapping[str, int], choose: Chooser) -> Paging:
    """What CR0, CR3, CR4 and EFER say; what is not given is as in 64-bit mode with 4 levels.

    Raises:
        UnsupportedError: Paging is off, or not that of 64-bit mode.
    """
    cr0, cr3 = values.get("cr0", PAGING), values["cr3"]
    cr4, efer = values.get("cr4", WIDE_ENTRIES), values.get("efer", LONG_MODE | NO_EXECUTE)
    if not cr0 & PAGING:
        raise UnsupportedError(f"cr0 {cr0:#x} says that paging is off (bit 31): take registers of a later moment")
    if not efer & LONG_MODE:
        raise UnsupportedError(f"efer {efer:#x} says that the CPU is not in 64-bit mode (bit 10): that is not read yet")
    if not cr4 & WIDE_ENTRIES:
        raise UnsupportedError(f"cr4 {cr4:#x} without PAE (bit 5) contradicts 64-bit mode: are they of one CPU?")
    levels = 5 if cr4 & FIVE_LEVELS else 4
    form = x86_64(
        levels,
        layer=choose(lambda linux: linux_x86(levels, linux)),
        no_execute=bool(efer & NO_EXECUTE),
        access=access_of(values),
    )
    form = replace(form, memory_types=memory_types(values.get("pat")))
    user, kernel = (window._replace(root=cr3 & run(51, 12)) for window in form.windows)
    tag = run(62, 57) if cr3 & LAM_57 else run(62, 48) if cr3 & LAM_48 else 0
    kernel_tag = (run(62, 57) if levels == 5 else run(62, 48)) if cr4 & LAM_KERNEL else 0
    windows = user._replace(ignored=tag), kernel._replace(ignored=kernel_tag)
    return Paging(form, windows, ("cr3", "cr3"))


REGISTERS: Final = RegisterFile(("cr0", "cr3", "cr4", "efer", "pkru", "pkrs", "pat"), (("cr3",),), _read)
