"""The states of many different entries worked out together: row by row, field by field, for all of them at once.

``Codec.state`` says the same of one entry; hostile tables have more kinds of entries than one likes to ask it for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats.codec import ATTRIBUTES_SHIFT, EMPTY, KIND_SHIFT, NUMBER_SHIFTS, SHAPE_SHIFT
from pagewalk.formats.flags import GRANTED, Flag, Kind, Rights, flags_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats.access import AccessRules
    from pagewalk.formats.codec import Codec
    from pagewalk.formats.fields import Field
    from pagewalk.formats.rows import Row

    Words = npt.NDArray[np.uint64]
    States = npt.NDArray[np.uint32]

__all__ = ["states_of"]

_ALL: Final = int(Rights.all())


def states_of(codec: Codec, entries: Words, granted: int, *, bare: bool = False) -> States:
    """The states of entries.

    Args:
        codec: Their level's.
        entries: Raw entries. Shape (n,), uint64.
        granted: The rights that the levels above grant.
        bare: Leave out what the operating system's fields say.
    """
    states = np.full(len(entries), EMPTY, np.uint32)
    left = np.flatnonzero(~codec.is_none(entries))
    for row in codec.others:
        if not len(left):
            break
        some = entries[left]
        hit = _matching(some, row)
        states[left[hit]] = _states_of_row(codec, row, some[hit], granted, bare=bare)
        left = left[~hit]
    for at in left.tolist():
        states[at] = codec.state(int(entries[at]), granted)
    return states


def _matching(entries: Words, row: Row) -> npt.NDArray[np.bool_]:
    """Which entries match any of a row's patterns."""
    hit = np.zeros(len(entries), np.bool_)
    for mask, value in row.when:
        hit |= entries & np.uint64(mask) == np.uint64(value)
    return hit


def _states_of_row(codec: Codec, row: Row, entries: Words, granted: int, *, bare: bool) -> States:
    """The states of entries of one row."""
    live = row.kind in (Kind.PRESENT, Kind.TABLE)
    rights = np.full(len(entries), granted if live else 0, np.uint8)
    flags, attributes = np.zeros(len(entries), np.uint32), np.zeros(len(entries), np.uint32)
    refused = np.zeros(len(entries), np.bool_)
    for field in row.fields:
        if bare and field.system:
            continue
        bits = entries & np.uint64(field.mask)
        if not field.meanings:
            if field.name in NUMBER_SHIFTS:
                attributes |= (bits >> np.uint64(field.lowest)).astype(np.uint32) << NUMBER_SHIFTS[field.name]
            continue
        rest = _said(field, bits, rights, flags, attributes)
        refused |= rest if field.strict else False
    if row.kind is Kind.TABLE:
        flags[:] = 0
    elif row.order:
        flags |= np.uint32(Flag.GROUPED)
    if live:
        flags |= _flags_of(codec.access)[rights]
        flags[refused] &= np.uint32((1 << 32) - 1 - int(GRANTED))
    kinds = np.where(refused, np.uint32(Kind.RESERVED), np.uint32(row.kind))
    states: States = flags | attributes << np.uint32(ATTRIBUTES_SHIFT) | kinds << np.uint32(KIND_SHIFT)
    return states | np.uint32(codec.shape_of(row) << SHAPE_SHIFT)


def _said(field: Field, bits: Words, rights: Any, flags: Any, attributes: Any) -> npt.NDArray[np.bool_]:
    """Take in what a field says of each entry; returns those of which it says nothing."""
    rest = np.ones(len(bits), np.bool_)
    for value, meaning in field.meanings:
        here = bits == np.uint64(value)
        rest &= ~here
        if isinstance(meaning, Rights):
            rights[here] &= np.uint8(meaning)
        elif isinstance(meaning, Flag):
            flags[here] |= np.uint32(meaning)
        elif field.name in NUMBER_SHIFTS:
            attributes[here] |= np.uint32(meaning << NUMBER_SHIFTS[field.name])
    return rest


@lru_cache(maxsize=16)
def _flags_of(access: AccessRules) -> States:
    """The flags of every set of rights."""
    return np.array([int(flags_of(access.allowed(rights))) for rights in range(_ALL + 1)], np.uint32)
