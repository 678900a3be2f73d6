"""The bit of an address that says whether memory is encrypted: SEV's C-bit, TDX's shared bit.

The hardware takes it off every address before it looks there (AMD APM vol. 2, 7.10 and 15.34.5; TDX module
specification, "Shared GPA"). CPUID 8000001F and the TDX module tell where it is; nothing in page tables does.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pagewalk.doors import integer
from pagewalk.errors import UnsupportedError
from pagewalk.formats.bits import Pattern
from pagewalk.formats.fields import ENCRYPTED, Field
from pagewalk.formats.flags import Kind

if TYPE_CHECKING:
    from pagewalk.formats.paging import PagingFormat
    from pagewalk.formats.rows import Row

__all__ = ["encrypted", "encryption_bits", "encryption_mask"]

_FORMATS: Final = ("x86-64", "x86-64-la57")
_BITS: Final = range(32, 52)
_WITH_ADDRESSES: Final = (Kind.TABLE, Kind.PRESENT, Kind.PROT_NONE)


def encryption_mask(bit: int | None) -> int:
    """The bit as a mask; 0 for None.

    Raises:
        ValueError: It is none of bits 32 to 51.
        TypeError: It is no integer.
    """
    if bit is None:
        return 0
    bit = integer(bit, "encryption_bit")
    if bit not in _BITS:
        raise ValueError(f"an encryption bit is one of bits {_BITS[0]} to {_BITS[-1]} of an address, not {bit}")
    return 1 << bit


def encryption_bits(form: PagingFormat) -> range:
    """The bits of a format's addresses that may be one."""
    return _BITS if form.name in _FORMATS else range(0)


def encrypted(form: PagingFormat, bit: int | None) -> PagingFormat:
    """A format in which one bit of addresses is none, but a field of its own, ``encrypted``.

    Whatever is made has it set, tables and pages, as memory that is private under SEV must; a page that is split or
    changed keeps what it had. (TDX sets the bit of memory that is shared: read as it is, made as shared.)

    Args:
        form: The format.
        bit: Which bit; None: the format as it is.

    Raises:
        UnsupportedError: The format has no such bit, or has one already.
        ValueError, TypeError: As ``encryption_mask``.
    """
    mask = encryption_mask(bit)
    if not mask:
        return form
    if not encryption_bits(form):
        raise UnsupportedError(f"an encryption bit is one of x86-64's, and {form.name} has none: leave it out")
    if any(row.field(ENCRYPTED) for level in form.hardware for row in level.rows):
        raise UnsupportedError(f"the format {form.name} is given with an encryption bit: leave out the other one")
    return _marked(form, mask)


@lru_cache(maxsize=8)
def _marked(form: PagingFormat, mask: int) -> PagingFormat:
    """The format, made once."""
    levels = tuple(
        replace(level, rows=tuple(_with_field(row, mask) for row in level.rows), codec=None)  # type: ignore[arg-type]
        for level in form.hardware
    )
    return replace(form, hardware=levels)


def _with_field(row: Row, mask: int) -> Row:
    """A row of tables or pages with the bit as a field."""
    if row.kind not in _WITH_ADDRESSES:
        return row
    address = tuple(part._replace(mask=part.mask & ~mask) for part in row.address)
    field = Field(ENCRYPTED, mask, ((mask, 1), (0, 0)))
    return replace(
        row,
        address=address,
        fields=(*row.fields, field),
        must=Pattern(row.must.mask & ~mask, row.must.value),
    )
