"""Property: on random tables, 4 and 5 levels, both halves, the queries say what the manual's walker says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagewalk.errors import NotPresent
from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.query import holes, mappings, translate
from pagewalk.tables import PageTables
from tests.property.worlds import addresses, ranges, worlds
from tests.reference import Page, joined


class Remote:
    """A memory that can only be asked."""

    def __init__(self, inner):
        self.inner = inner
        self.reads = 0

    def read(self, paddr, size):
        self.reads += 1
        return self.inner.read(paddr, size)


@pytest.fixture(scope="module", params=["flat", "remote"])
def source(request):
    """Hands out the tables of a world, over either kind of memory."""

    def tables_of(world):
        tables, _ = world.tables()
        return tables if request.param == "flat" else PageTables(Remote(tables.memory), tables.root, tables.format)

    return tables_of


def runs_of(entries):
    """Rows of single entries, joined as the reference joins them."""
    pages = [
        Page(vaddr, None if paddr == NO_PADDR else paddr, size, page, (page, flags, kind))
        for vaddr, paddr, size, page, flags, kind, _ in entries.tolist()
    ]
    return [
        (vaddr, NO_PADDR if frame is None else frame, size, page, flags | Flag.REPEATED * repeated, kind)
        for vaddr, frame, size, (page, flags, kind), repeated in joined(pages)
    ]


def clipped(found, start, end):
    """What a reference entry covers inside the range."""
    begin = max(found.vaddr, start)
    return begin, min(found.vaddr + found.size, end) - begin


@given(data=st.data(), world=worlds())
def test_mappings_are_the_entries_that_end_a_translation(source, data, world):
    start, end = data.draw(ranges(world, most=1 << 41))
    rows = mappings(source(world), start, end, coalesce=False)
    kinds = dict(zip(rows["vaddr"].tolist(), rows["kind"].tolist(), strict=True))
    expected = []
    for found in world.hardware().everything(start, end):
        if found.what == "leaf":
            begin, size = clipped(found, start, end)
            rights = Flag.READ | Flag.WRITE * found.write | Flag.USER * found.user | Flag.EXEC * found.execute
            expected.append((begin, size, found.size, found.entry, found.paddr + begin - found.vaddr, int(rights)))
        elif found.what == "absent":
            expected.append((*clipped(found, start, end), found.size, found.entry, None, 0))
            assert found.depth >= 2 or kinds[max(found.vaddr, start)] == Kind.OTHER, "there are no pages at this level"
    actual = [
        (
            row["vaddr"].item(),
            row["size"].item(),
            row["page_size"].item(),
            row["entry"].item(),
            row["paddr"].item() if row["kind"] == Kind.PRESENT else None,
            row["flags"].item() & Flag.rights(),
        )
        for row in rows
    ]
    assert actual == expected


@given(data=st.data(), world=worlds())
def test_holes_are_the_empty_entries(source, data, world):
    start, end = data.draw(ranges(world, most=1 << 41))
    expected = []
    for found in world.hardware().everything(start, end):
        if found.what != "hole":
            continue
        begin, size = clipped(found, start, end)
        if expected and expected[-1][0] + expected[-1][1] == begin and expected[-1][2] == found.depth:
            expected[-1] = (expected[-1][0], expected[-1][1] + size, found.depth)
        else:
            expected.append((begin, size, found.depth))
    assert holes(source(world), start, end).tolist() == expected


@given(world=worlds())
def test_mappings_and_holes_tile_both_halves(source, world):
    tables = source(world)
    spans = sorted(mappings(tables)[["vaddr", "size"]].tolist() + holes(tables)[["vaddr", "size"]].tolist())
    joined = []
    for vaddr, size in spans:
        if joined and joined[-1][1] == vaddr:
            joined[-1][1] += size
        else:
            joined.append([vaddr, vaddr + size])
    assert joined == [[window.start, window.end] for window in tables.windows]


@given(data=st.data(), world=st.one_of(worlds(), worlds(pages=30)))
def test_runs_are_the_entries_joined(data, world):
    tables, _ = world.tables()
    start, end = data.draw(ranges(world))
    assert mappings(tables, start, end).tolist() == runs_of(mappings(tables, start, end, coalesce=False))


@given(data=st.data(), world=worlds(), hardware=st.booleans())
def test_translate_agrees_with_the_scalar_walk_and_the_manual(source, data, world, hardware):
    tables = source(world)
    near = [vaddr + offset for vaddr in world.addresses for offset in (0, 0x123, 0x1FF008)]
    near = [vaddr for vaddr in near if vaddr < 1 << 64 and tables.format.window_of(vaddr)]
    vaddrs = [*near, *data.draw(st.lists(addresses(world.levels), max_size=8))]
    paddrs, mapped = translate(tables, vaddrs, hardware=hardware)
    assert (paddrs.dtype, mapped.dtype) == (np.uint64, np.bool_)
    for vaddr, paddr, there in zip(vaddrs, paddrs.tolist(), mapped.tolist(), strict=True):
        try:
            scalar = tables.translate(vaddr, hardware=hardware).paddr
            assert there
            assert paddr == (NO_PADDR if scalar is None else scalar)
        except NotPresent:
            assert not there
            assert paddr == NO_PADDR
        found = world.hardware().look(vaddr)
        if hardware or found.what == "leaf" or found.depth < 2:
            assert there == (found.what == "leaf")
            assert not there or paddr == found.paddr + vaddr - found.vaddr
