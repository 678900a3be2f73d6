"""``pw.read``: every byte of a range is the one that the tables lead to, or there is none of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.formats import Flag
from tests.world import K, M, World

BASE = 0x4000_0000
HUGE = 0x8000_0000


class Far:
    """A memory that has to be asked, and leaves one page out."""

    def __init__(self, ram, absent=None):
        self.ram, self.absent, self.journeys = ram, absent, 0

    def read(self, paddr, size):
        if self.absent is not None and paddr // 4096 == self.absent:
            raise pw.PageNotInDump(paddr, size, "left out by its maker")
        return self.ram.read(paddr, size)

    def read_many(self, paddrs, size):
        self.journeys += 1
        return [None if paddr // 4096 == self.absent else self.ram.read(paddr, size) for paddr in paddrs]


@pytest.fixture(scope="module")
def world():
    """Eight pages, of which the frames go backwards, one is PROT_NONE and one is missing; and a huge page."""
    world = World(ram=16 * M)
    for at in range(8):
        if at != 5:
            world.map(BASE + at * 4096, (1000 - at) * 4096)
    world.map(HUGE, 4 * M, depth=3)
    for paddr in range(2 * M, 12 * M, 4096):
        world.memory.write(paddr, paddr.to_bytes(8, "little") * 512)
    return world


def expected(vaddr, size):
    """What the pages hold."""
    whole = b"".join(((1000 - at) * 4096).to_bytes(8, "little") * 512 for at in range(5))
    return whole[vaddr - BASE : vaddr - BASE + size]


@pytest.fixture(params=["flat", "far"])
def tables(request, world):
    return world.tables if request.param == "flat" else pw.PageTables(Far(world.memory), 0)


class TestBytes:
    @given(st.integers(0, 5 * 4096), st.integers(0, 5 * 4096))
    def test_any_part(self, world, first, last):
        first, last = sorted((first, last))
        for tables in (world.tables, pw.PageTables(Far(world.memory), 0)):
            assert pw.read(tables, BASE + first, last - first) == expected(BASE + first, last - first)

    def test_a_huge_page(self, tables, world):
        assert pw.read(tables, HUGE + 5, 2 * M - 5) == world.memory.read(4 * M + 5, 2 * M - 5)

    def test_one_frame_many_times(self):
        world = World(ram=M)
        for at in range(4):
            world.map(BASE + at * 4096, 64 * K)
        world.memory.write(64 * K, b"once" * K)
        assert pw.mappings(world.tables)["flags"][0] & Flag.REPEATED
        for tables in (world.tables, pw.PageTables(Far(world.memory), 0)):
            assert pw.read(tables, BASE + 2, 4 * 4096 - 2) == (b"once" * 4 * K)[2:]

    def test_nothing(self, tables):
        assert pw.read(tables, 0x1234, 0) == b""

    def test_of_many_pages_in_few_journeys(self, world):
        far = Far(world.memory)
        pw.read(pw.PageTables(far, 0), BASE + 8, 4 * 4096)
        assert far.journeys == 4 + 3  # a level each; the first page's part, the whole pages, the last's part


class TestRefused:
    def test_the_first_address_that_is_missing(self, tables):
        with pytest.raises(pw.NotPresent) as caught:
            pw.read(tables, BASE + 3, 8 * 4096)
        assert caught.value.vaddr == BASE + 5 * 4096

    def test_a_range_that_begins_in_a_hole(self, tables):
        with pytest.raises(pw.NotPresent) as caught:
            pw.read(tables, BASE - 10, 20)
        assert caught.value.vaddr <= BASE - 10

    def test_not_in_the_dump(self, world):
        tables = pw.PageTables(Far(world.memory, absent=998), 0)
        with pytest.raises(pw.PageNotInDump, match="left out by its maker"):
            pw.read(tables, BASE, 4 * 4096)

    def test_a_frame_outside(self):
        world = World(ram=M)
        world.map(BASE, 64 * M)
        with pytest.raises(pw.MemoryReadError, match="outside the memory"):
            pw.read(world.tables, BASE, 8)

    @pytest.mark.parametrize(
        ("vaddr", "size", "error"), [(BASE, -1, ValueError), (1 << 47, 8, pw.NonCanonical), (0.5, 8, TypeError)]
    )
    def test_arguments(self, tables, vaddr, size, error):
        with pytest.raises(error):
            pw.read(tables, vaddr, size)
