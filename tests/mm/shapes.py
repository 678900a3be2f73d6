"""Formats whose tables have another shape than x86-64's: the model has to run on them as it does there."""

from dataclasses import replace
from typing import Final

from pagewalk.formats import Kind, PagingFormat, find_format
from pagewalk.formats.bits import Bits, Pattern, bit, run
from pagewalk.formats.fields import RIGHTS, Field
from pagewalk.formats.level import Level
from pagewalk.formats.rows import Row
from pagewalk.formats.window import Window

__all__ = ["SHAPES"]

X86: Final = find_format("x86-64")
LA57: Final = find_format("x86-64-la57")
WRITE_BIT: Final = bit(1)
PAGE_SHIFT: Final = 13
INDEX_BITS: Final = 6


def _windows(bits: int) -> tuple[Window, ...]:
    """Two halves of addresses of so many bits."""
    half = 1 << bits - 1
    return Window(0, half), Window((1 << 64) - half, 1 << 64)


def _read_only(field: Field) -> Field:
    """Rights with a bit that takes the write right away in place of one that gives it."""
    if field.name != RIGHTS:
        return field
    return replace(field, meanings=tuple((value ^ WRITE_BIT, meaning) for value, meaning in field.meanings))


def _moved(row: Row, shift: int) -> Row:
    """A row for pages of another size, and tables in larger pages."""
    row = replace(row, fields=tuple(map(_read_only, row.fields)))
    if row.kind not in (Kind.PRESENT, Kind.PROT_NONE, Kind.TABLE):
        return row
    (frame,) = row.address
    low = PAGE_SHIFT if row.kind is Kind.TABLE else shift
    row = replace(row, address=(Bits(run(51, low), flip=frame.flip),))
    if row.kind is Kind.PRESENT:
        row = replace(row, must=Pattern(run(shift - 1, PAGE_SHIFT), 0))
    return row


def _wide() -> PagingFormat:
    """Five levels, pages of 8 KiB, tables of 64 entries, and a bit for what may not be written."""
    levels = []
    for number, level in enumerate(reversed(LA57.hardware)):
        shift = PAGE_SHIFT + number * INDEX_BITS
        rows = tuple(_moved(row, shift) for row in level.rows)
        levels.append(Level(level.manual, shift, INDEX_BITS, rows, level.word))
    bits = PAGE_SHIFT + len(levels) * INDEX_BITS
    return replace(LA57, name="wide", hardware=tuple(reversed(levels)), windows=_windows(bits))


def _short() -> PagingFormat:
    """Three levels; the root, too, can map huge pages."""
    return replace(X86, name="short", hardware=X86.hardware[1:], windows=_windows(39))


OTHERS: Final = tuple(find_format(name) for name in ("arm64-4k", "arm64-16k", "riscv-sv39"))
SHAPES: Final = {form.name: form for form in (X86, LA57, _wide(), _short(), *OTHERS)}
