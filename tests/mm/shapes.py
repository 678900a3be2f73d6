"""Formats whose tables have another shape than x86-64's: the model has to run on them as it does there."""

from dataclasses import replace
from typing import Final

from pagewalk.formats import Flag, Level, PagingFormat, find_format
from pagewalk.formats.bits import AddressField, FlagBit

__all__ = ["SHAPES"]

X86: Final = find_format("x86-64")
WRITE_BIT: Final = 1


def _levels(page_shift: int, index_bits: int, depths: tuple[int, ...], large: tuple[int, ...]) -> tuple[Level, ...]:
    """Five levels, of which the hardware has those of the given depths; the others show the one above once more."""
    shift, rows = page_shift + index_bits * len(depths), list[Level]()
    *_, upper, last = X86.levels
    for depth, like in enumerate(X86.levels):
        real = depth in depths
        shift -= index_bits if real else 0
        rows.append(
            replace(
                like,
                shift=shift,
                index_bits=index_bits if real else 0,
                may_be_leaf=depth == last.depth or max(at for at in depths if at <= depth) in large,
                reserved_leaf=0,
                reserved_table=0,
                leaf_value=like.leaf_value if depth == last.depth else upper.leaf_value,
                movable=like.movable if depth == last.depth else upper.movable,
            )
        )
    return tuple(rows)


def _read_only_bit() -> tuple[FlagBit, ...]:
    """The rights, with a bit that takes the write right away in place of one that gives it."""
    return tuple(FlagBit(row.flag, row.bit, clear=True) if row.flag is Flag.WRITE else row for row in X86.rights)


def _wide() -> PagingFormat:
    """Five levels, pages of 8 KiB, tables of 64 entries, and a bit for what may not be written."""
    rights = _read_only_bit()
    return replace(
        X86,
        name="wide",
        levels=_levels(13, 6, (0, 1, 2, 3, 4), (3,)),
        address=(AddressField((1 << 52) - (1 << 13)),),
        table_value=X86.table_value & ~(1 << WRITE_BIT),
        rights=rights,
        table_rights=rights,
    )


def _short() -> PagingFormat:
    """Three levels; the root, too, can map huge pages."""
    return replace(X86, name="short", levels=_levels(12, 9, (0, 3, 4), (0, 3)))


SHAPES: Final = {form.name: form for form in (X86, find_format("x86-64-la57"), _wide(), _short())}
