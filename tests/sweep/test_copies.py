"""Tables that many entries point to: what is found is the same, and each is looked at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagewalk import sweep
from pagewalk.errors import TranslationError
from pagewalk.formats import Flag, Kind
from pagewalk.memory import FlatMemory, Segment
from pagewalk.sweep import copies, descent
from pagewalk.sweep.source import Source
from pagewalk.tables import PageTables
from tests.property.worlds import ranges, worlds
from tests.sweep.strategy import hostile_worlds

TABLE = 0x67
NEVER = 1 << 40


def answers(tables, start, end):
    """Every listing of a range, as plain columns; or the error, and what came before it."""
    found = []
    for options in ({}, {"coalesce": False, "entries": True}, {"where": sweep.Filter(having=Flag.WRITE)}):
        blocks, error = [], None
        try:
            blocks.extend(block.block for block in sweep.iterate(tables, start, end, **options))
        except TranslationError as raised:
            error = str(raised)
        found.append((error, [np.concatenate(column).tolist() for column in zip(*blocks, strict=True)]))
    findings = []
    gaps = sweep.holes(tables, start, end, findings=findings)
    return found, [column.tolist() for column in gaps.block], {(one.entry, one.depth) for one in findings}


class TestTheSame:
    """What is found once and given again is what is found each time."""

    @given(st.one_of(worlds(pages=12), hostile_worlds()), st.data())
    def test_as_if_each_were_gone_into(self, engine, world, data):
        start, end = data.draw(ranges(world, 1 << 39))
        tables, _ = world.tables()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(copies, "MANY", NEVER)
            expected = answers(tables, start, end)
            patch.setattr(copies, "MANY", 2)
            patch.setattr(descent, "MOST", data.draw(st.sampled_from([1, 3, 1 << 18])))
            assert answers(tables, start, end) == expected

    @given(hostile_worlds())
    def test_a_wrong_entry_is_told_once(self, engine, world):
        tables, _ = world.tables()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(copies, "MANY", 1)
            findings, counted = [], []
            sweep.holes(tables, 0, 1 << 39, findings=findings)
            sweep.count(tables, 0, 1 << 39, findings=counted)
        assert {str(one) for one in counted} <= {str(one) for one in findings}


def nested(levels, entries):
    """A table a level: all 512 entries of each point to the next; the last one holds ``entries``."""
    words = np.zeros((levels, 512), np.uint64)
    for at in range(levels - 1):
        words[at] = (at + 1) << 12 | TABLE
    words[-1, : len(entries)] = entries
    memory = FlatMemory([Segment(0, memoryview(words.reshape(-1)).cast("B"))])
    return PageTables(memory, 0, "x86-64" if levels == 4 else "x86-64-la57")


@pytest.fixture
def decoded(monkeypatch):
    """Counts the tables that are read."""
    seen = [0]
    rows = Source.rows

    def counted(self, paddrs, *rest):
        seen[0] += len(paddrs)
        return rows(self, paddrs, *rest)

    monkeypatch.setattr(Source, "rows", counted)
    monkeypatch.setenv("PAGEWALK_ENGINE", "numpy")
    return seen


PAGE = 0x9000 | TABLE | 1 << 63
OFTEN = 100
"""Tables read at most, samples included: some for each level, not one for each of a hundred million entries."""


class TestWork:
    """Work is bounded by the tables that there are, not by what they pretend to map."""

    @pytest.mark.parametrize("levels", [4, 5])
    @pytest.mark.parametrize("entries", [[], [PAGE] * 512, [0x60] * 512], ids=["empty", "full", "stray"])
    def test_nothing_and_one_page(self, decoded, levels, entries):
        tables = nested(levels, entries)
        whole = 1 << (47 if levels == 4 else 56)
        full = bool(entries) and entries[0] == PAGE
        rows, gaps = sweep.mappings(tables), sweep.holes(tables)
        assert rows.size.tolist() == ([whole] * 2 if full else [])
        assert gaps.size.tolist() == ([] if full else [whole] * 2)
        if full:
            assert rows.paddr.tolist() == [0x9000] * 2
            assert (rows.flags & int(Flag.REPEATED) != 0).all()
        assert decoded[0] <= OFTEN

    def test_few_pages_in_many_places(self, decoded):
        """One page below each of 512**2 entries: as many rows, for the price of the rows."""
        tables = nested(4, [PAGE])
        rows = sweep.mappings(tables, 0, 1 << 39)
        assert len(rows) == 512**2
        assert (rows.vaddr == np.arange(512**2, dtype=np.uint64) << np.uint64(21)).all()
        assert decoded[0] <= OFTEN

    def test_a_range_that_cuts_tables(self, decoded):
        rows = sweep.mappings(nested(4, [PAGE] * 512), 5 << 12, (1 << 46) - (7 << 12))
        assert rows.size.tolist() == [(1 << 46) - (12 << 12)]
        assert decoded[0] <= OFTEN

    def test_a_shadow_of_16_tib(self, decoded):
        """As KASAN's: the same page everywhere, but for a part that is there for real."""
        words = np.zeros((6, 512), np.uint64)
        words[0, 472:504] = 1 << 12 | TABLE
        words[0, 480] = 4 << 12 | TABLE
        words[1], words[2] = 2 << 12 | TABLE, 3 << 12 | TABLE
        words[3] = 0x7000 | 1 << 63 | 0x21
        words[4] = 2 << 12 | TABLE
        words[4, 7] = 5 << 12 | TABLE
        words[5] = 3 << 12 | TABLE
        words[5, 100] = 0x4000_0000 | 1 << 63 | 0xE3
        tables = PageTables(FlatMemory([Segment(0, memoryview(words.reshape(-1)).cast("B"))]), 0)
        rows = sweep.mappings(tables)
        assert rows.size.sum() == 32 << 39
        assert rows.paddr.tolist() == [0x7000, 0x4000_0000, 0x7000]
        assert [size.item() for size in rows.page_size] == [1 << 12, 1 << 21, 1 << 12]
        assert rows.kind.tolist() == [Kind.PRESENT] * 3
        assert decoded[0] <= 3 * OFTEN

    def test_too_many_rows_to_keep_are_streamed(self, decoded):
        """512**4 pages, each row for itself: in blocks, from the first address on, as long as somebody asks."""
        tables = nested(4, [PAGE, PAGE | 1 << 9] * 256)
        seen = 0
        for block in sweep.iterate(tables):
            assert int(block.vaddr[0]) == seen << 12
            seen += len(block)
            if seen > 1 << 21:
                break
        assert decoded[0] <= seen // 512
