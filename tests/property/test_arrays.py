"""One code for one entry and for a million: ints and ``uint64`` arrays decode and encode alike."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagewalk.formats import FORMATS, Flag, Kind, PagingFormat
from tests.property.entries import ADDRESS, RAW

if TYPE_CHECKING:
    from collections.abc import Callable

every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=list(FORMATS))
entries = st.lists(RAW, min_size=1, max_size=12)

BY_ENTRY: dict[str, Callable[..., Any]] = {
    "is_valid": lambda form, entry, level: form.is_valid(entry),
    "is_none": lambda form, entry, level: form.is_none(entry),
    "is_present": lambda form, entry, level: form.is_present(entry),
    "is_table": lambda form, entry, level: form.is_table(entry, level),
    "reserved": lambda form, entry, level: form.reserved(entry, level),
    "table_paddr": lambda form, entry, level: form.table_paddr(entry),
    "leaf_paddr": lambda form, entry, level: form.leaf_paddr(entry, level),
    "leaf_flags": lambda form, entry, level: form.leaf_flags(entry),
    "table_flags": lambda form, entry, level: form.table_flags(entry),
    "flags": lambda form, entry, level: form.flags(entry),
    "frame": lambda form, entry, level: form.frame(entry, level),
    "kind": lambda form, entry, level: form.kind(entry),
    "swap type": lambda form, entry, level: form.last.swap_slot(entry)[0],
    "swap offset": lambda form, entry, level: form.last.swap_slot(entry)[1],
    "swap_flags": lambda form, entry, level: form.software.swap_flags(entry),
    "swap_frame": lambda form, entry, level: form.software.swap_frame(entry),
    "is_canonical": lambda form, entry, level: form.is_canonical(entry),
    "table_entry": lambda form, entry, level: form.table_entry(entry & ADDRESS),
}


def agree(function: Callable[[Any], Any], values: list[int]) -> None:
    """The array's answer is the list of the ints' answers, and no float has crept in."""
    many = function(np.array(values, np.uint64))
    assert many.dtype in (np.dtype(np.uint64), np.dtype(np.bool_))
    assert many.tolist() == [function(value) for value in values]


@every_format
@pytest.mark.parametrize("method", BY_ENTRY)
class TestDecoding:
    """Rule: "works on scalars and on ``uint64`` arrays alike"."""

    @given(values=entries)
    def test_ints_and_arrays_agree(self, form: PagingFormat, method: str, values: list[int]) -> None:
        for level in form.levels:
            agree(partial(BY_ENTRY[method], form, level=level), values)


@every_format
class TestEncoding:
    """What is encoded decodes to what was asked for."""

    @given(frames=st.lists(st.integers(0, (1 << 40) - 1), min_size=1, max_size=8), flags=st.integers(0, sum(Flag)))
    def test_leaf_entries_round_trip(self, form: PagingFormat, frames: list[int], flags: int) -> None:
        known = sum(row.flag for row in form.rights + form.state + form.software.state)
        for level in (level for level in form.levels if level.may_be_leaf):
            paddrs = [frame * 4096 & -level.span for frame in frames]
            agree(partial(form.leaf_entry, flags=flags, level=level), paddrs)
            for paddr in paddrs:
                entry = form.leaf_entry(paddr, flags, level)
                assert form.kind(entry) == Kind.PRESENT
                assert form.frame(entry, level) == paddr
                assert form.flags(entry) & ~int(Flag.READ) == flags & known & ~int(Flag.READ)
                assert not form.reserved(entry, level)
                assert not form.is_table(entry, level)

    @given(frames=st.lists(st.integers(0, (1 << 40) - 1), min_size=1, max_size=8))
    def test_table_entries_round_trip(self, form: PagingFormat, frames: list[int]) -> None:
        for level in form.levels[:-1]:
            for frame in frames:
                entry = form.table_entry(frame * 4096)
                assert form.is_table(entry, level)
                assert form.table_paddr(entry) == frame * 4096
                assert not form.reserved(entry, level)

    @given(type_=st.integers(0, 31), offset=st.integers(0, (1 << 50) - 1))
    def test_swap_entries_round_trip(self, form: PagingFormat, type_: int, offset: int) -> None:
        entry = form.last.swap(type_, offset)
        assert not form.is_present(entry)
        assert form.last.swap_slot(entry) == (type_, offset)

    @given(paddr=st.integers(0, (1 << 64) - 1))
    def test_misaligned_addresses_are_refused(self, form: PagingFormat, paddr: int) -> None:
        for level in form.levels:
            fits = level.may_be_leaf and paddr % level.span == 0 and paddr < 1 << 52
            if not fits:
                with pytest.raises(ValueError, match=form.name):
                    form.leaf_entry(paddr, 0, level)
