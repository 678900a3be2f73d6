"""One code for one entry and for a million: ints and ``uint64`` arrays decode and encode alike."""

from __future__ import annotations

from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagewalk.formats import FORMATS, Flag, Kind, find_format
from pagewalk.formats.flags import GRANTED
from tests.property.entries import RAW

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.formats import Level, PagingFormat

every_format = pytest.mark.parametrize("form", [find_format(name) for name in FORMATS], ids=list(FORMATS))
entries = st.lists(RAW, min_size=1, max_size=12)

BY_ENTRY: dict[str, Callable[..., Any]] = {
    "is_valid": lambda level, entry: level.is_valid(entry),
    "is_none": lambda level, entry: level.is_none(entry),
    "is_page": lambda level, entry: level.is_page(entry),
    "is_table": lambda level, entry: level.is_table(entry),
    "kind": lambda level, entry: level.kind(entry),
    "flags": lambda level, entry: level.flags(entry),
    "frame": lambda level, entry: level.frame(entry),
    "swap type": lambda level, entry: level.swap_slot(entry)[0] if level.swaps else entry & 0,
    "swap offset": lambda level, entry: level.swap_slot(entry)[1] if level.swaps else entry & 0,
    "table": lambda level, entry: entry & 0 if level.is_last else level.table(entry & _reach(level, Kind.TABLE)),
    "dirty": lambda level, entry: level.with_flags(entry, Flag.DIRTY),
    "read-only": lambda level, entry: level.without_flags(entry, Flag.WRITE | Flag.ACCESSED),
}


def agree(function: Callable[[Any], Any], values: list[int]) -> None:
    """The array's answer is the list of the ints' answers, and neither a float nor a sign has crept in."""
    many = function(np.array(values, np.uint64))
    assert many.dtype.kind in "bu"
    assert many.tolist() == [function(value) for value in values]


@every_format
@pytest.mark.parametrize("method", BY_ENTRY)
class TestDecoding:
    """Rule: "works on scalars and on ``uint64`` arrays alike"."""

    @given(values=entries)
    def test_ints_and_arrays_agree(self, form: PagingFormat, method: str, values: list[int]) -> None:
        for level in form.levels:
            agree(partial(BY_ENTRY[method], level), values)


@every_format
class TestEncoding:
    """What is encoded decodes to what was asked for."""

    @given(frames=st.lists(st.integers(0, (1 << 40) - 1), min_size=1, max_size=8), flags=st.integers(0, sum(Flag)))
    def test_leaf_entries_round_trip(self, form: PagingFormat, frames: list[int], flags: int) -> None:
        for level in (level for level in form.levels if level.may_be_leaf):
            paddrs = [frame * 4096 & _reach(level, Kind.PRESENT) for frame in frames]
            agree(partial(form.leaf_entry, flags=flags, level=level), paddrs)
            for paddr in paddrs:
                entry = form.leaf_entry(paddr, flags, level)
                assert form.kind(entry, level) == Kind.PRESENT
                assert form.frame(entry, level) == paddr
                state = ~GRANTED
                assert form.flags(entry, level) & state == flags & _known(level) & state
                assert not flags & Flag.rights() & ~form.flags(entry, level)  # more may be granted: reading, mostly
                assert not level.wrong(entry)
                assert not form.is_table(entry, level)

    @given(frames=st.lists(st.integers(0, (1 << 40) - 1), min_size=1, max_size=8))
    def test_table_entries_round_trip(self, form: PagingFormat, frames: list[int]) -> None:
        for level in form.levels[:-1]:
            for frame in frames:
                paddr = frame * form.page_size & _reach(level, Kind.TABLE)
                entry = form.table_entry(paddr, level)
                assert form.is_table(entry, level)
                assert level.frame(entry) == paddr
                assert not level.wrong(entry)

    @given(type_=st.integers(0, 31), offset=st.integers(0, (1 << 50) - 1))
    def test_swap_entries_round_trip(self, form: PagingFormat, type_: int, offset: int) -> None:
        if not form.last.swaps:
            with pytest.raises(ValueError, match="swap"):
                form.last.swap(type_, offset)
            return
        offset %= form.last.swap_slots
        entry = form.last.swap(type_, offset)
        assert not form.is_present(entry)
        assert form.last.swap_slot(entry) == (type_, offset)

    @given(paddr=st.integers(0, (1 << 64) - 1))
    def test_misaligned_addresses_are_refused(self, form: PagingFormat, paddr: int) -> None:
        for level in form.levels:
            fits = level.may_be_leaf and paddr % level.span == 0 and paddr < 1 << 52
            if not fits:
                with pytest.raises(ValueError, match=level.name if level.may_be_leaf else "cannot map"):
                    form.leaf_entry(paddr, 0, level)


def _reach(level: Level, kind: Kind) -> int:
    """The bits of an address that an entry of a level can name."""
    return next(row.reach for row in level.rows if row.kind is kind and not row.order)


def _known(level: Level) -> int:
    """The flags that a page of a level can have, as a page that nobody shares has them."""
    (row,) = [row for row in level.rows if row.kind is Kind.PRESENT and not row.order]
    return reduce(or_, (int(field.flags) for field in row.fields), int(Flag.rights()))
