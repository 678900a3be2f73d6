"""x86-64 with 4-level and 5-level paging.

Source: Intel SDM vol. 3A, 5.4 and 5.5 (tables 5-14 to 5-20); AMD APM vol. 2, 5.3.
"""

from __future__ import annotations

from itertools import product
from typing import Final

from pagewalk.formats.access import NO_RULES, AccessRules
from pagewalk.formats.bits import Bits, Pattern, bit, run
from pagewalk.formats.fields import KEY, MEMORY, RIGHTS, Field, flag, number
from pagewalk.formats.flags import Flag, Kind, Rights
from pagewalk.formats.invalidation import Invalidation
from pagewalk.formats.level import Level
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.os.linux_x86 import linux_x86
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.root_page import RootPage
from pagewalk.formats.rows import Row
from pagewalk.formats.window import Window
from pagewalk.formats.word import Word

__all__ = ["INVALIDATION", "grants", "level_rows", "state_of", "x86_64"]

P, RW, US, A, D, PS, G, XD = (bit(place) for place in (0, 1, 2, 5, 6, 7, 8, 63))
SOFTWARE: Final = run(11, 9) | run(58, 52)
"""Bits of a page's entry that the hardware leaves to software; of a table's also 8, and 59 to 62."""
TABLE_ACCESSED: Final = Field("accessed", A, ((A, Flag.ACCESSED), (0, Flag(0))))
_KEYS: Final = number(KEY, 62, 59)
_WORD: Final = Word()
_ROOT_PAGE: Final = RootPage((-1,), twin=4096)
"""Linux: the kernel's image is in the last slot; PTI's user root is the page behind (``kernel_to_user_pgdp``)."""
INVALIDATION: Final = Invalidation("INVLPG", "MOV CR4 (PGE off and on)", source="Intel SDM vol. 3A, 5.10.4")
"""Each also drops what is kept of upper entries. With PCIDs INVLPG reaches the current one, and global pages."""
_NAMES: Final = (("PML5", 48), ("PML4", 39), ("PDPT", 30), ("PD", 21), ("PT", 12))


def grants(no_execute: bool) -> Field:
    """What is present can be read; R/W, U/S, and XD where EFER.NXE is set."""
    meanings: list[tuple[int, Rights]] = []
    for shut, user, write in product((0, XD) if no_execute else (0,), (0, US), (0, RW)):
        kernel = Rights.KERNEL_READ | (Rights.KERNEL_WRITE if write else 0) | (0 if shut else Rights.KERNEL_EXEC)
        meanings.append((shut | user | write, Rights(kernel | kernel << 3 if user else kernel)))
    names = ((RW, "R/W"), (US, "U/S"), (XD, "XD"))
    return Field(RIGHTS, RW | US | (XD if no_execute else 0), tuple(meanings), names=names)


def memory_type(pat: int) -> Field:
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
            Level(manual, shift, 9, level_rows(shift, wide, grants(no_execute), layer), _WORD, access)
            for manual, shift in _NAMES[5 - levels :]
        ),
        windows=(Window(0, half), Window((1 << 64) - half, 1 << 64, layered=not layer.user_only)),
        physical_bits=physical_bits,
        system=layer.name,
        root_page=_ROOT_PAGE,
        invalidation=INVALIDATION,
        tells_outside=False,  # a general protection exception: no address in CR2 (SDM vol. 3A, 6.15)
    )


def state_of(rights: Field, *, last: bool) -> tuple[Field, ...]:
    """What the entry of a page says in every paging mode: bit 7, which makes a page large, is PAT at the last level."""
    return (
        rights,
        flag("accessed", 5, Flag.ACCESSED),
        flag("dirty", 6, Flag.DIRTY),
        flag("global", 8, Flag.GLOBAL),
        memory_type(7 if last else 12),
    )


def level_rows(
    shift: int, wide: int, rights: Field, layer: Layer, *, more: tuple[Field, ...] = (_KEYS,)
) -> tuple[Row, ...]:
    """The rows of a level with 8-byte entries: those of the operating system, then table and page.

    Args:
        shift: log2 of the bytes that an entry covers.
        wide: Bits that are reserved at every level.
        rights: The field of rights.
        layer: The operating system's part.
        more: Fields of a page that not every paging mode has.
    """
    last, pages = shift == 12, shift <= 30
    state = (*state_of(rights, last=last), *more)
    frame = (Bits(run(51, shift)),)
    rows = list(layer.absent(Place(last, pages, frame, state)))
    inside = run(51, 12) & ~wide
    if not last:
        rows.append(
            Row(
                Kind.TABLE,
                (Pattern(P | PS, P) if pages else Pattern(P, P),),
                (Bits(inside),),
                (rights, TABLE_ACCESSED),
                Pattern(wide | (0 if pages else PS), 0),
                sets=D,  # Linux's _PAGE_TABLE
                ignored=(run(4, 3) | run(11, 8) | run(62, 52)) & ~wide,
            )
        )
    if pages:
        below = 0 if last else run(shift - 1, 13)  # tables 5-16 to 5-20: bit 12 of a large page is PAT
        rows.append(
            Row(
                Kind.PRESENT,
                (Pattern(P, P) if last else Pattern(P | PS, P | PS),),
                (Bits(run(51, shift) & ~wide),),
                (*state, *layer.state),
                Pattern(wide | below, 0),
                ignored=SOFTWARE & ~wide & ~layer.owned,
            )
        )
    return tuple(rows)
