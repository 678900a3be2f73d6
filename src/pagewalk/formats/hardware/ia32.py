"""32-bit x86: two levels of 4-byte entries, or with PAE three levels of 8-byte ones.

Source: Intel SDM vol. 3A, 5.3 (tables 5-4 to 5-6) and 5.4 (tables 5-8 to 5-11); where paging is chapter 4, tables 4-4
to 4-6 and 4-8 to 4-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.formats.access import NO_RULES, AccessRules
from pagewalk.formats.bits import Bits, Pattern, bit, run
from pagewalk.formats.fields import Field, flag
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.hardware.x86 import INVALIDATION, PS, TABLE_ACCESSED, D, P, grants, level_rows, state_of
from pagewalk.formats.level import Level
from pagewalk.formats.os.layer import Place
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.root_page import RootPage
from pagewalk.formats.rows import Row
from pagewalk.formats.window import Window
from pagewalk.formats.word import Word

if TYPE_CHECKING:
    from pagewalk.formats.os.layer import Layer

__all__ = ["ia32", "pae"]

_WINDOWS: Final = (Window(0, 1 << 32),)
_KERNEL: Final = 3 << 30
"""Linux: PAGE_OFFSET, unless configured otherwise; the fixmap is in the last slot. With PAE, ``pgd_alloc`` makes the
tables of all four slots, and PTI's user root is the page behind."""


def ia32(
    layer: Layer, physical_bits: int = 40, *, large_pages: bool = True, access: AccessRules = NO_RULES
) -> PagingFormat:
    """The paging format with two levels of 1024 entries.

    Args:
        layer: The operating system's part.
        physical_bits: 32, or with PSE-36 up to 40: what is above 32 bits, pages of 4 MiB alone can name.
        large_pages: CR4.PSE; without it, bit 7 of a directory's entry is ignored.
        access: What CR0 and CR4 make of rights.

    Raises:
        ValueError: A width outside 32..40.
    """
    if not 32 <= physical_bits <= 40:
        raise ValueError(f"32-bit paging has 32 to 40 physical bits, not {physical_bits}")
    word, rights = Word(4), grants(no_execute=False)
    directory = _directory_rows(rights, physical_bits, layer, large_pages=large_pages)
    return PagingFormat(
        name="ia32",
        word=word,
        hardware=(
            Level("PD", 22, 10, directory, word, access),
            Level("PT", 12, 10, _page_rows(rights, layer), word, access),
        ),
        windows=_WINDOWS,
        physical_bits=physical_bits,
        system=layer.name,
        root_page=RootPage((-1,), kernel=_KERNEL),
        invalidation=INVALIDATION,
    )


def _directory_rows(rights: Field, physical_bits: int, layer: Layer, *, large_pages: bool) -> tuple[Row, ...]:
    """The rows of a page directory: tables, and pages of 4 MiB."""
    high = run(physical_bits - 20, 13)
    frame = (Bits(run(31, 22)), *((Bits(high, up=19),) if high else ()))
    state = state_of(rights, last=False)
    table = Row(
        Kind.TABLE,
        (Pattern(P | PS, P) if large_pages else Pattern(P, P),),
        (Bits(run(31, 12)),),
        (rights, TABLE_ACCESSED),
        sets=D,  # Linux's _PAGE_TABLE
        ignored=run(4, 3) | run(11, 8) | (0 if large_pages else PS),
    )
    rows = (*layer.absent(Place(False, large_pages, frame, state)), table)
    if not large_pages:
        return rows
    page = Row(
        Kind.PRESENT,
        (Pattern(P | PS, P | PS),),
        frame,
        (*state, *layer.state),
        Pattern(run(21, 13) & ~high, 0),  # bit 12 is PAT
        ignored=run(11, 9) & ~layer.owned,
    )
    return *rows, page


def _page_rows(rights: Field, layer: Layer) -> tuple[Row, ...]:
    """The rows of a page table."""
    frame, state = (Bits(run(31, 12)),), state_of(rights, last=True)
    page = Row(
        Kind.PRESENT,
        (Pattern(P, P),),
        frame,
        (*state, *layer.state),
        ignored=run(11, 9) & ~layer.owned,
    )
    return *layer.absent(Place(True, True, frame, state)), page


def pae(
    layer: Layer, physical_bits: int = 52, *, no_execute: bool = True, access: AccessRules = NO_RULES
) -> PagingFormat:
    """The paging format of PAE: a root of four entries, 32 bytes, above two levels of 512.

    The CPU keeps the four in registers from one write of CR3 to the next; what is read here is what lies in memory.

    Args:
        layer: The operating system's part.
        physical_bits: MAXPHYADDR; the bits above it, up to 62, are reserved.
        no_execute: EFER.NXE; without it, bit 63 is reserved.
        access: What CR0 and CR4 make of rights.

    Raises:
        ValueError: A width outside 32..52.
    """
    if not 32 <= physical_bits <= 52:
        raise ValueError(f"PAE has 32 to 52 physical bits, not {physical_bits}")
    word, wide = Word(), run(62, physical_bits) | (0 if no_execute else bit(63))
    below = (("PD", 21), ("PT", 12))
    return PagingFormat(
        name="pae",
        word=word,
        hardware=(
            Level("PDPT", 30, 2, _root_rows(physical_bits, layer), word, access),
            *(
                Level(manual, shift, 9, level_rows(shift, wide, grants(no_execute), layer, more=()), word, access)
                for manual, shift in below
            ),
        ),
        windows=_WINDOWS,
        physical_bits=physical_bits,
        system=layer.name,
        root_page=RootPage((-1,), kernel=_KERNEL, twin=4096, made_empty=True),
        invalidation=INVALIDATION._replace(top="MOV CR3"),  # the CPU keeps all four PDPTEs: SDM 5.4.1
    )


def _root_rows(physical_bits: int, layer: Layer) -> tuple[Row, ...]:
    """The rows of the root, whose entries grant everything.

    Table 5-8 reserves bit 5 too. An emulator that takes them for any table's sets it there, as accessed (QEMU's TCG),
    so it is no reason to refuse an image.
    """
    table = Row(
        Kind.TABLE,
        (Pattern(P, P),),
        (Bits(run(physical_bits - 1, 12)),),
        (flag("accessed", 5, Flag.ACCESSED),),
        Pattern(run(2, 1) | run(8, 6) | run(63, physical_bits), 0),
        ignored=run(4, 3) | run(11, 9),
    )
    return *layer.absent(Place(False, False, (), ())), table
