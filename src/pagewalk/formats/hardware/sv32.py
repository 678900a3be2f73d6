"""RISC-V's Sv32: two levels of 4-byte entries, pages of 4 KiB and 4 MiB, physical addresses of 34 bits.

Source: RISC-V privileged architecture, "Sv32: Page-Based 32-bit Virtual-Memory Systems".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.formats.bits import Bits, Pattern, run
from pagewalk.formats.flags import Kind
from pagewalk.formats.hardware.riscv import INVALIDATION, LEAVES, RSW, STATE, UNASKED, A, D, G, R, U, V, W, X, rights
from pagewalk.formats.level import Level
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.rows import Row
from pagewalk.formats.window import Window
from pagewalk.formats.word import Word

if TYPE_CHECKING:
    from pagewalk.formats.access import AccessRules

__all__ = ["sv32"]

NUMBER: Final = run(31, 10)
"""PPN: 22 bits of a page's number."""
_WORD: Final = Word(4)


def sv32(layer: Layer, *, access: AccessRules = UNASKED) -> PagingFormat:
    """The paging format of RISC-V with 32-bit entries.

    Args:
        layer: The operating system's part.
        access: What ``sstatus`` makes of rights.
    """
    return PagingFormat(
        name="riscv-sv32",
        word=_WORD,
        hardware=(_level(1, layer, access), _level(0, layer, access)),
        windows=(Window(0, 1 << 32),),
        physical_bits=34,
        system=layer.name,
        invalidation=INVALIDATION,
    )


def _level(number: int, layer: Layer, access: AccessRules) -> Level:
    """One level, by the manual's number: 0 is the last."""
    shift, last = 12 + 10 * number, not number
    frame = (Bits(NUMBER & run(31, shift - 2), up=2),)
    fields = (rights(), *STATE)
    table = Pattern(V | R | W | X, V)
    rows = [*layer.absent(Place(last, True, frame, fields)), Row(Kind.RESERVED, (Pattern(V | R | W, V | W),))]
    if last:
        rows.append(Row(Kind.RESERVED, (table,)))  # no table is below
    else:
        rows.append(Row(Kind.TABLE, (table,), (Bits(NUMBER, up=2),), (), Pattern(A | D | U, 0), ignored=G | RSW))
    below = NUMBER & run(shift - 3, 10)  # a page is aligned to its size
    rows.append(Row(Kind.PRESENT, LEAVES, frame, (*fields, *layer.state), Pattern(below, 0), ignored=RSW))
    return Level(f"level {number}", shift, 10, tuple(rows), _WORD, access)
