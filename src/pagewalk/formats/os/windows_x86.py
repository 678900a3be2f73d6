"""Windows on x86-64: what its memory manager keeps in entries that the MMU does not take, in every window and level.

Source: the public symbols of ``ntoskrnl`` (Windows 10 and 11): ``_MMPTE_SOFTWARE``, ``_MMPTE_TRANSITION``,
``_MMPTE_PROTOTYPE``. A build that inverts frames against L1TF (SwizzleBit) does so by a mask of its machine's own,
which no entry tells: frames stand as they are here.
"""

from __future__ import annotations

from typing import Final

from pagewalk.formats.bits import EVERY, Bits, Pattern, bit, run
from pagewalk.formats.fields import SWAP_TYPE, Field, number
from pagewalk.formats.flags import Kind
from pagewalk.formats.os.layer import Layer, Place
from pagewalk.formats.rows import Row

__all__ = ["WINDOWS_X86"]

VALID, PROTOTYPE, TRANSITION = bit(0), bit(10), bit(11)
_PROTECTION: Final = number("protection", 9, 5)
_OFFSET: Final = run(63, 32)
"""PageFileHigh: in pages."""
_ROWS: Final = (
    Row(Kind.NONE, (Pattern(EVERY, 0),)),
    Row(Kind.OTHER, (Pattern(VALID | PROTOTYPE, PROTOTYPE),), name="prototype"),  # shared: another entry says where
    Row(  # on the standby or the modified list: in memory still, and mapped again without a read
        Kind.OTHER,
        (Pattern(VALID | PROTOTYPE | TRANSITION, TRANSITION),),
        (Bits(run(47, 12)),),
        (_PROTECTION,),
        name="transition",
    ),
    Row(Kind.OTHER, (Pattern(VALID | PROTOTYPE | TRANSITION | _OFFSET, 0),), (), (_PROTECTION,), name="demand_zero"),
    Row(
        Kind.SWAP,
        (Pattern(VALID | PROTOTYPE | TRANSITION, 0),),
        (Bits(_OFFSET, down=20),),
        (Field(SWAP_TYPE, run(15, 12)), _PROTECTION),  # PageFileLow: which page file
        name="page_file",
    ),
)


def _absent(place: Place) -> tuple[Row, ...]:
    """The same rows everywhere: tables are paged out as pages are."""
    return _ROWS


WINDOWS_X86: Final = Layer("windows", _absent)
"""Windows' part of the format."""
