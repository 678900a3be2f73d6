"""Property: on random, aliased and hostile tables, the sweep says what the manual's walker and the scalar walk say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagewalk import sweep
from pagewalk.errors import Malformed, NotPresent, ReservedBits, TranslationError
from pagewalk.formats import NO_PADDR, Flag, Kind
from tests.property.worlds import addresses, ranges, worlds
from tests.sweep.strategy import hostile_worlds

RAISES = {"reserved": ReservedBits, "outside": Malformed}


def clip(found, start, end):
    """What a reference entry covers inside the range."""
    begin = max(found.vaddr, start)
    return begin, min(found.vaddr + found.size, end) - begin


def rows_of(columns):
    """Columns as plain tuples: vaddr, size, page size, entry, paddr of a present page, rights of it."""
    present = columns.kind == Kind.PRESENT
    return [
        (vaddr, size, page, entry, paddr if there else None, rights if there else None)
        for vaddr, size, page, entry, paddr, rights, there in zip(
            columns.vaddr.tolist(),
            columns.size.tolist(),
            columns.page_size.tolist(),
            columns.entry.tolist(),
            columns.paddr.tolist(),
            (columns.flags & int(Flag.rights())).tolist(),
            present.tolist(),
            strict=True,
        )
    ]


def expected_rows(found, start, end):
    """The same from the reference."""
    rows = []
    for one in found:
        begin, size = clip(one, start, end)
        if one.what == "leaf":
            rights = Flag.READ | Flag.WRITE * one.write | Flag.USER * one.user | Flag.EXEC * one.execute
            rows.append((begin, size, one.size, one.entry, one.paddr + begin - one.vaddr, int(rights)))
        elif one.what == "absent":
            rows.append((begin, size, one.size, one.entry, None, None))
    return rows


def runs_of(found, start, end):
    """The reference's holes, neighbours of one depth joined."""
    runs = []
    for one in found:
        if one.what != "hole":
            continue
        begin, size = clip(one, start, end)
        if runs and sum(runs[-1][:2]) == begin and runs[-1][2] == one.depth:
            runs[-1] = (runs[-1][0], runs[-1][1] + size, one.depth)
        else:
            runs.append((begin, size, one.depth))
    return runs


def wrong(found, start):
    """What the reference finds wrong: type, vaddr, depth."""
    return [(RAISES[one.what], max(one.vaddr, start), one.depth) for one in found if one.what in RAISES]


class TestHostile:
    """Loops, tables nowhere, reserved bits: collected like the reference's, or the first raised."""

    @given(hostile_worlds(), st.data())
    def test_collected(self, engine, world, data):
        start, end = data.draw(ranges(world, 1 << 30))
        tables, _ = world.tables()
        found = list(world.hardware().everything(start, end))
        findings = []
        columns = sweep.mappings(tables, start, end, coalesce=False, entries=True, findings=findings)
        assert rows_of(columns) == expected_rows(found, start, end)
        assert [(type(one), one.vaddr, one.depth) for one in findings] == wrong(found, start)
        again = []
        gaps = sweep.holes(tables, start, end, findings=again)
        assert list(
            zip(*(getattr(gaps, name).tolist() for name in ("vaddr", "size", "depth")), strict=True)
        ) == runs_of(found, start, end)
        assert [str(one) for one in again] == [str(one) for one in findings]

    @given(hostile_worlds(), st.data())
    def test_the_first_by_address_is_raised_after_all_before_it(self, engine, world, data):
        start, end = data.draw(ranges(world, 1 << 30))
        tables, _ = world.tables()
        found = list(world.hardware().everything(start, end))
        errors = wrong(found, start)
        got = []
        try:
            for block in sweep.iterate(tables, start, end, coalesce=False, entries=True):
                got += rows_of(block)
            raised = None
        except TranslationError as error:
            raised = (type(error), error.vaddr, error.depth)
        assert raised == (errors[0] if errors else None)
        stop = errors[0][1] if errors else end
        assert got == [row for row in expected_rows(found, start, end) if row[0] < stop]


class TestCount:
    """Counting is listing, without the list."""

    @given(st.one_of(worlds(), hostile_worlds()), st.data())
    def test_equals_the_rows(self, engine, world, data):
        start, end = data.draw(ranges(world, 1 << 36))
        tables, _ = world.tables()
        columns = sweep.mappings(tables, start, end, coalesce=False, findings=[])
        counts = {
            (row["kind"].item(), row["page_size"].item()): row["entries"].item()
            for row in sweep.count(tables, start, end, findings=[])
        }
        pairs, found = np.unique(
            np.stack([columns.kind.astype(np.uint64), columns.page_size]), axis=1, return_counts=True
        )
        assert counts == {(int(kind), int(size)): int(many) for (kind, size), many in zip(pairs.T, found, strict=True)}

    @given(hostile_worlds(), st.data())
    def test_raises_the_first_by_address(self, engine, world, data):
        start, end = data.draw(ranges(world, 1 << 30))
        tables, _ = world.tables()
        errors = wrong(world.hardware().everything(start, end), start)
        if not errors:
            sweep.count(tables, start, end)
            return
        with pytest.raises(errors[0][0]) as caught:
            sweep.count(tables, start, end)
        assert (caught.value.vaddr, caught.value.depth) == errors[0][1:]


class TestTranslate:
    """Many addresses at once, as many as the compiled kernel is made ready for."""

    @given(st.one_of(worlds(), hostile_worlds()), st.booleans(), st.data())
    def test_agrees_with_the_scalar_walk(self, engine, world, hardware, data):
        tables, _ = world.tables()
        near = [vaddr + offset for vaddr in world.addresses for offset in (0, 0x123, 0x1FF008)]
        near += data.draw(st.lists(addresses(world.levels), min_size=1, max_size=8))
        vaddrs = np.array([vaddr for vaddr in near if vaddr < 1 << 64 and tables.format.window_of(vaddr)], np.uint64)
        some = np.resize(vaddrs, max(len(vaddrs), 300))
        findings = []
        paddrs, mapped = sweep.translate(tables, some, hardware=hardware, findings=findings)
        wrong = set()
        for vaddr, paddr, there in zip(some.tolist(), paddrs.tolist(), mapped.tolist(), strict=True):
            try:
                scalar = tables.translate(vaddr, hardware=hardware).paddr
                assert there
                assert paddr == (NO_PADDR if scalar is None else scalar)
            except NotPresent:
                assert (there, paddr) == (False, NO_PADDR)
            except TranslationError as error:
                assert (there, paddr) == (False, NO_PADDR)
                wrong.add((type(error), error.depth, error.entry))
        assert {(type(one), one.depth, one.entry) for one in findings} == wrong


class TestFilters:
    """Filtered in the kernels is filtered afterwards."""

    @given(worlds(pages=12), st.data())
    def test_equal(self, engine, world, data):
        tables, _ = world.tables()
        everything = sweep.mappings(tables, coalesce=False, entries=True)
        flags = st.sampled_from([0, Flag.READ, Flag.WRITE, Flag.EXEC | Flag.USER, Flag.DIRTY, Flag.ACCESSED])
        having = data.draw(flags)
        lacking = data.draw(flags.filter(lambda some: not some & having))
        kinds = data.draw(st.none() | st.sets(st.sampled_from(list(Kind)[1:]), min_size=1, max_size=4))
        sizes = data.draw(st.none() | st.sets(st.sampled_from([1 << 12, 1 << 21, 1 << 30, 1 << 39]), max_size=3))
        low = data.draw(st.integers(0, (1 << 52) - 1))
        frames = data.draw(st.none() | st.integers(1, 1 << 51).map(lambda more: (low, low + more)))
        where = sweep.Filter(having=having, lacking=lacking, kinds=kinds, page_sizes=sizes, frames=frames)
        keep = (everything.flags & int(having) == int(having)) & (everything.flags & int(lacking) == 0)
        if kinds is not None:
            keep &= np.isin(everything.kind, [kind.value for kind in kinds])
        if sizes is not None:
            keep &= np.isin(everything.page_size, np.array(sorted(sizes), np.uint64))
        if frames is not None:
            last = everything.paddr + (everything.page_size - 1)
            keep &= (everything.paddr != NO_PADDR) & (everything.paddr < frames[1]) & (last >= frames[0])
        some = sweep.mappings(tables, coalesce=False, entries=True, where=where)
        assert [column.tolist() for column in some.block] == [column[keep].tolist() for column in everything.block]
        assert sweep.count(tables, where=where)["entries"].sum() == keep.sum()
        runs = sweep.mappings(tables, where=where)
        assert expanded(runs) == [row[:3] for row in zip(*(column.tolist() for column in some.block), strict=True)]


def expanded(runs):
    """Runs as the entries they are made of."""
    rows = []
    for vaddr, place, state, size, page in zip(
        *(column.tolist() for column in runs.block), runs.page_size.tolist(), strict=True
    ):
        goes_on = place != NO_PADDR and not state & Flag.REPEATED
        state &= ~Flag.REPEATED
        rows += [(vaddr + at, place + at * goes_on, state) for at in range(0, size, page)]
    return rows


class TestBlocks:
    """``iterate`` gives what ``mappings`` gives, and ``out=`` takes it."""

    @given(worlds(pages=12), st.booleans())
    def test_iterate(self, engine, world, coalesce):
        tables, _ = world.tables()
        whole = sweep.mappings(tables, coalesce=coalesce)
        blocks = [block.block for block in sweep.iterate(tables, coalesce=coalesce)]
        joined = [np.concatenate(columns).tolist() for columns in zip(*blocks, strict=True)]
        assert joined == ([column.tolist() for column in whole.block] if len(whole) else [])

    @given(worlds(pages=12), st.booleans())
    def test_out(self, engine, world, coalesce):
        tables, _ = world.tables()
        whole = sweep.mappings(tables, coalesce=coalesce)
        out = sweep.Columns.allocate(len(whole) + 3, tables.format, coalesce=coalesce)
        for _ in range(2):
            filled = sweep.mappings(tables, coalesce=coalesce, out=out)
            assert [column.tolist() for column in filled.block] == [column.tolist() for column in whole.block]
            assert all(np.shares_memory(one, two) for one, two in zip(filled.block, out.block, strict=True)) or not len(
                whole
            )
        if len(whole):
            short = sweep.Columns.allocate(len(whole) - 1, tables.format, coalesce=coalesce)
            with pytest.raises(ValueError, match="more rows"):
                sweep.mappings(tables, coalesce=coalesce, out=short)
