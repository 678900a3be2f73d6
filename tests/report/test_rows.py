"""Rows on their way to the page: joined, ordered, added up; each against a slow and obvious way of doing it."""

from __future__ import annotations

from collections import Counter
from functools import reduce

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pagewalk.formats import NO_PADDR, Flag, Kind, find_format
from pagewalk.report.listing import Layout, json_rows, summary, text_blocks
from pagewalk.report.rows import AGING, ROW, Tally, by_address, having, joined
from pagewalk.sweep.columns import Said, said_by
from tests.reference import Page
from tests.reference import joined as one_by_one

K = 1 << 10
PAGE = 4 * K
RW = int(Flag.READ | Flag.WRITE | Flag.USER)
OLD, DIRTY, SOFT = int(Flag.ACCESSED), int(Flag.DIRTY), int(Flag.SOFT_DIRTY)
REPEATED, OUTSIDE = int(Flag.REPEATED), int(Flag.OUTSIDE)
DRAWN = settings(max_examples=200, deadline=None)
FORM = find_format("x86-64")


def row(vaddr, paddr, size, flags, kind=1, page_size=PAGE):
    """One row, as a tuple."""
    return vaddr, paddr, size, page_size, 0, Said(flags, kind, 0, 4).state


def rows(*some):
    """Rows, each of the arguments of ``row``."""
    return np.array([row(*each) for each in some], ROW)


def slowly(listed, ignoring=int(AGING)):
    """What ``joined`` is to give: page by page, by the reference's rule, with the state that all pages have."""
    pages, states = [], {}
    for vaddr, paddr, size, page, _, state in listed.tolist():
        flags, kind, attributes, depth = said_by(state)
        for at in range(0, size, page):
            frame = None if paddr == NO_PADDR else paddr + at * (not flags & REPEATED)
            pages.append(
                Page(vaddr + at, frame, page, page, (page, flags & ~(ignoring | REPEATED), kind, attributes, depth))
            )
            states[vaddr + at] = flags & ignoring
    found = []
    for vaddr, frame, size, (page, flags, kind, attributes, depth), repeated in one_by_one(pages):
        state = reduce(int.__and__, (states[at] for at in range(vaddr, vaddr + size, page)))
        flags |= state | REPEATED * repeated
        found.append(
            (vaddr, NO_PADDR if frame is None else frame, size, page, 0, Said(flags, kind, attributes, depth).state)
        )
    return found


def cut(listed, places):
    """Rows in blocks."""
    places = sorted({place for place in places if 0 < place < len(listed)})
    return [listed[low:high] for low, high in zip([0, *places], [*places, len(listed)], strict=True) if low < high]


@st.composite
def listings(draw):
    """Rows by address, many of which belong together."""
    at, listed = draw(st.sampled_from([0, 0xFFFF_8000_0000_0000])), []
    paddr = 0x10000
    for _ in range(draw(st.integers(0, 12))):
        at += draw(st.sampled_from([0, 0, 0, 0, PAGE]))
        pages = draw(st.sampled_from([1, 1, 1, 2]))
        paddr = draw(st.sampled_from([paddr, paddr, 0x10000, 0x20000, NO_PADDR]))
        flags = RW | draw(st.sampled_from([0, OLD, DIRTY, OLD | DIRTY, OLD | SOFT, OUTSIDE]))
        flags |= REPEATED if paddr != NO_PADDR and pages > 1 and draw(st.booleans()) else 0
        kind = draw(st.sampled_from([Kind.PRESENT, Kind.PRESENT, Kind.PRESENT, Kind.GUARD]))
        listed.append((at, paddr, pages * PAGE, flags, int(kind)))
        at += pages * PAGE
        if paddr != NO_PADDR and draw(st.booleans()):
            paddr += pages * PAGE
    return rows(*listed)


class TestJoined:
    """The table of ``map`` joins rows that differ only in accessed and dirty, and shows what all pages have."""

    @DRAWN
    @given(listings(), st.lists(st.integers(1, 12), max_size=4), st.sampled_from([int(AGING), 0, int(AGING) | SOFT]))
    @example(
        rows(*((at * PAGE, paddr * K, PAGE, OLD * (at % 2)) for at, paddr in enumerate((20, 20, 24, 24)))),
        [2],
        0,
    )
    @example(rows((0, 0x1000, PAGE, 0), (PAGE, 0x2000, PAGE, OLD), (2 * PAGE, 0x2000, PAGE, OLD)), [2], int(AGING))
    def test_as_one_row_at_a_time_would(self, listed, places, ignoring):
        found = [row for block in joined(cut(listed, places), FORM.levels, ignoring) for row in block.tolist()]
        assert found == slowly(listed, ignoring)

    def test_nothing(self):
        assert list(joined([], FORM.levels)) == []

    def test_the_state_that_all_have(self):
        listed = rows((0, 0x1000, PAGE, RW | OLD | DIRTY | SOFT), (PAGE, 0x2000, PAGE, RW | OLD | SOFT))
        (block,) = joined([listed], FORM.levels)
        assert block.tolist() == rows((0, 0x1000, 2 * PAGE, RW | OLD | SOFT)).tolist()

    def test_soft_dirty_is_asked_for_and_keeps_rows_apart(self):
        listed = rows((0, 0x1000, PAGE, RW | SOFT), (PAGE, 0x2000, PAGE, RW))
        assert sum(map(len, joined([listed], FORM.levels))) == 2

    def test_pages_of_one_frame(self):
        """The zero page, read at different times."""
        listed = rows((0, 0x5000, PAGE, OLD), (PAGE, 0x5000, 3 * PAGE, REPEATED), (4 * PAGE, 0x6000, PAGE, 0))
        assert [row for block in joined([listed], FORM.levels) for row in block.tolist()] == rows(
            (0, 0x5000, 4 * PAGE, REPEATED), (4 * PAGE, 0x6000, PAGE, 0)
        ).tolist()

    def test_many_rows_are_no_python_loop(self):
        """2^20 rows of alternating state are one row."""
        count = 1 << 20
        listed = np.zeros(count, ROW)
        listed["vaddr"] = listed["place"] = np.arange(count, dtype=np.uint64) * np.uint64(PAGE)
        listed["size"] = listed["page_size"] = PAGE
        listed["state"] = Said(0, 1, 0, 4).state
        listed["state"][::2] |= np.uint32(OLD)
        assert [row for block in joined(np.split(listed, 16), FORM.levels) for row in block.tolist()] == [
            row(0, 0, count * PAGE, 0)
        ]


class TestOrder:
    @DRAWN
    @given(st.lists(st.lists(st.lists(st.integers(0, 200), max_size=5), max_size=4), min_size=1, max_size=3))
    def test_streams_by_address_are_one_by_address(self, streams):
        blocks = []
        for stream in streams:
            ordered = iter(sorted(place for block in stream for place in block))
            made = [rows(*((next(ordered) * PAGE, 0, PAGE, 0) for _ in block)) for block in stream]
            blocks.append([block for block in made if len(block)])
        merged = [int(at) for block in by_address(*blocks) for at in block["vaddr"]]
        assert merged == sorted(place * PAGE for stream in streams for block in stream for place in block)

    @DRAWN
    @given(listings(), st.integers(0, 1 << 16), st.integers(0, 1 << 16))
    def test_flags_of_rows(self, listed, all_of, none_of):
        none_of &= ~all_of
        expected = [row for row in listed.tolist() if row[5] & all_of == all_of and not row[5] & none_of]
        assert having(listed, all_of, none_of).tolist() == expected


class TestTally:
    @DRAWN
    @given(listings(), st.lists(st.integers(1, 12), max_size=4))
    def test_sums(self, listed, places):
        listed["state"][::3] = Said(0, int(Kind.NONE), 0, 4).state
        tally, expected = Tally(), Counter()
        assert [row for block in tally.watch(cut(listed, places)) for row in block.tolist()] == listed.tolist()
        for row in listed.tolist():
            expected[said_by(row[5]).kind, row[3]] += row[2]
        assert tally.sizes == expected
        holes = sum(said_by(row[5]).kind == Kind.NONE for row in listed.tolist())
        assert (tally.mapped + tally.holes, tally.holes) == (len(listed), holes)

    def test_the_words(self):
        tally = Tally()
        tally.add(
            rows((0, 0, PAGE, 0), (PAGE, 0, 8 * K, 0), (1 << 21, 0, 1 << 21, 0, 1, 1 << 21), (1 << 47, 0, 4 * K, 0, 5))
        )
        tally.add(rows((1 << 30, NO_PADDR, 1 << 30, 0, 0, 1 << 30)))
        everything = "present 12 KiB in 4K + 2 MiB in 2M, guard 4 KiB in 4K, holes 1 GiB"
        assert summary(tally) == f"4 rows, 1 hole: {everything}"
        assert summary(tally, shown=5) == f"4 rows, 1 hole: {everything}"
        assert summary(tally, shown=2, findings=1) == f"4 rows, 1 hole, 1 finding (3 more than shown): {everything}"
        assert summary(Tally(), empty="nothing passes the filters") == "0 rows: nothing passes the filters"
        assert summary(Tally()) == "0 rows: nothing is mapped"
        tally.add(rows((2 << 47, 0, 4 * K, OUTSIDE | RW), (3 << 47, 0, 4 * K, OUTSIDE, int(Kind.PROT_NONE))))
        tally.add(rows((4 << 47, 0xFEE0_0000, 4 * K, OUTSIDE)))  # a device's registers, mapped for the kernel
        *_, last = summary(tally).splitlines()
        assert last.startswith("2 rows name frames outside the image: another kernel version (--os), an encryption bit")


def lines(listed, **options):
    """The lines of a table, without its header."""
    layout = Layout(FORM, lambda text, colour: text, **options)
    return "".join(text_blocks([listed], layout)).splitlines()[1:]


class TestText:
    def test_one_frame_for_every_page_and_frames_outside(self):
        listed = rows((0, 0x5000, 8 * K, RW | REPEATED), (1 << 20, 0x12345000, PAGE, RW | OUTSIDE | OLD),
                      (2 << 20, NO_PADDR, PAGE, 0, int(Kind.GUARD)))  # fmt: skip
        cells = [line.split() for line in lines(listed)]
        assert [(row[4], row[7:]) for row in cells] == [("=0x5000", []), ("outside", ["accessed"]), ("-", [])]

    def test_json_keeps_the_frame_and_the_flag(self):
        import json

        listed = rows((0, 0x5000, 8 * K, RW | REPEATED | OUTSIDE))
        (row,) = map(json.loads, json_rows(listed, FORM))
        assert row == {"vaddr": "0x0", "paddr": "0x5000", "size": 8192, "page_size": 4096, "kind": "present",
                       "flags": ["read", "write", "user", "repeated", "outside"],
                       "memory": 0, "pkey": 0, "swap_type": 0, "swap_offset": 0}  # fmt: skip

    @pytest.mark.parametrize("wide", [False, True])
    def test_columns_stand_one_below_the_other(self, wide):
        top = (1 << 64) - PAGE if wide else (1 << 47) - PAGE
        listed = rows((0, 0x5000, 8 * K, RW), (1 << 20, (1 << 44) - PAGE, PAGE, RW | REPEATED), (top, 0, PAGE, RW))
        layout = Layout(FORM, lambda text, colour: text, wide=wide, entries=True)
        table = "".join(text_blocks([listed], layout)).splitlines()
        at = table[0].index("KIND")
        assert {line[at : at + 7].strip() for line in table[1:]} == {"present"}

    def test_a_limit(self):
        listed = rows(*((at * 2 * PAGE, 0, PAGE, 0) for at in range(10000)))
        for limit in (0, 1, 4999, 5000, 9999, 10001):
            layout = Layout(FORM, lambda text, colour: text)
            shown = "".join(text_blocks(np.split(listed, 2), layout, limit)).splitlines()
            assert len(shown) == 1 + min(limit, 10000)
