"""Batch callbacks see what the scalar walk's callbacks see, and what they write is in the memory."""

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk import sweep
from pagewalk.memory import FlatMemory, Segment
from pagewalk.walk import WalkOps, walk_page_range_novma
from tests.property.worlds import ranges, worlds
from tests.sweep.strategy import hostile_worlds
from tests.world import PAGE, G, M, World

BASE = 0x4000_0000


def scalar_calls(tables, start, end):
    """PTE entries, other entries, and holes, as a scalar walk meets them; holes above the last level only, joined."""
    ptes, others, gaps = [], [], []

    def upper(entry, addr, next_, walk):
        if not entry.is_table:
            others.append((addr, entry.value, entry.level.real_depth))

    def hole(addr, next_, depth, walk):
        if gaps and gaps[-1][1] == addr and gaps[-1][2] == depth:
            gaps[-1] = (gaps[-1][0], next_, depth)
        else:
            gaps.append((addr, next_, depth))

    top = {"p4d_entry": upper} if tables.format.levels[1].folded else {"pgd_entry": upper, "p4d_entry": upper}
    ops = WalkOps(
        pte_entry=lambda entry, addr, next_, walk: ptes.append((addr, entry.value)) or None,
        pmd_entry=upper,
        pud_entry=upper,
        pte_hole=hole,
        **top,
    )
    walk_page_range_novma(tables, start, end, ops, findings=[])
    return ptes, others, gaps


def batch_calls(tables, start, end, **options):
    """The same from batches."""
    ptes, others, gaps = [], [], []

    def on_tables(entries, addr):
        assert entries.shape[0] == len(addr)
        for row, first in zip(entries.tolist(), addr.tolist(), strict=True):
            ptes.extend((first + at * PAGE, value) for at, value in enumerate(row))

    def on_leaves(entries, addr, depth):
        others.extend((vaddr, value, depth) for vaddr, value in zip(addr.tolist(), entries.tolist(), strict=True))

    def on_holes(addr, next_, depth):
        gaps.extend((low, high, depth) for low, high in zip(addr.tolist(), next_.tolist(), strict=True))

    sweep.walk(tables, start, end, pte_tables=on_tables, leaves=on_leaves, holes=on_holes, **options)
    return ptes, sorted(others), joined(sorted(gaps))


def joined(gaps):
    """Neighbours of one depth as one."""
    runs = []
    for low, high, depth in gaps:
        if runs and runs[-1][1] == low and runs[-1][2] == depth:
            runs[-1] = (runs[-1][0], high, depth)
        else:
            runs.append((low, high, depth))
    return runs


class TestSameAsTheWalk:
    """Every entry of the last level, everything else that is there, and every hole."""

    @given(st.one_of(worlds(pages=8), hostile_worlds()), st.data(), st.booleans(), st.sampled_from([1, 2, 256]))
    def test_entries_and_holes(self, world, data, writes, batch):
        start, end = data.draw(ranges(world, 1 << 30))
        tables, _ = world.tables()
        scalar = scalar_calls(tables, start, end)
        before = world.snapshot()
        assert batch_calls(tables, start, end, writes=writes, batch=batch, findings=[]) == scalar
        assert world.snapshot() == before


class TestWriting:
    """What is written into a batch is written back, and nothing else."""

    @given(worlds(pages=8), st.data())
    def test_equals_the_scalar_walk(self, world, data):
        start, end = data.draw(ranges(world, 1 << 30))
        tables, _ = world.tables()
        before = world.snapshot()

        def scalar(entry, addr, next_, walk):
            if entry.value & 1:
                entry.value = (entry.value + 0x200) & (1 << 64) - 1

        def batch(entries, addr):
            present = entries & np.uint64(1) != 0
            entries[present] += np.uint64(0x200)

        walk_page_range_novma(tables, start, end, WalkOps(pte_entry=scalar))
        wanted = world.snapshot()
        world.restore(before)
        sweep.walk(tables, start, end, pte_tables=batch, writes=True)
        assert world.snapshot() == wanted

    def test_leaves_are_written_back(self):
        world = World()
        world.map(BASE, 8 * M, depth=3)

        def clear(entries, addr, depth):
            assert depth == 3
            entries[:] = 0

        sweep.walk(world.tables, leaves=clear, writes=True)
        assert world.leaves() == {}

    def test_what_was_written_before_a_failure_is_there(self):
        world = World()
        world.map(BASE, PAGE)
        progress = sweep.Progress()

        def fail(entries, addr):
            entries[0, 1] = 0x2067
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            sweep.walk(world.tables, pte_tables=fail, writes=True, progress=progress)
        assert world.entry(BASE + PAGE).value == 0x2067
        assert (progress.addr, progress.batches) == (BASE, 1)

    def test_reading_cannot_write(self):
        world = World()
        world.map(BASE, PAGE)
        with pytest.raises(ValueError, match="read-only"):
            sweep.walk(world.tables, pte_tables=lambda entries, addr: entries.fill(0))
        image = FlatMemory([Segment(0, world.memory.segments[0].data.toreadonly())])
        with pytest.raises(pw.MemoryWriteError, match="read-only"):
            sweep.walk(pw.PageTables(image, 0), pte_tables=lambda entries, addr: entries.fill(0), writes=True)


class TestEnding:
    """A positive answer ends it and is the result; a negative one is an errno; progress says where."""

    @pytest.fixture
    def world(self):
        world = World()
        for at in range(6):
            world.map(BASE + at * 2 * M, at * PAGE)
        return world

    def test_early(self, world):
        progress, seen = sweep.Progress(), []

        def third(entries, addr):
            seen.extend(addr.tolist())
            return 7 if len(seen) == 3 else 0

        assert sweep.walk(world.tables, pte_tables=third, batch=1, progress=progress) == 7
        assert seen == [BASE, BASE + 2 * M, BASE + 4 * M]
        assert progress.addr == BASE + 4 * M

    def test_errno(self, world):
        with pytest.raises(pw.WalkError) as caught:
            sweep.walk(world.tables, holes=lambda addr, next_, depth: -errno.EPERM)
        assert caught.value.errno == errno.EPERM

    def test_to_the_end(self, world):
        progress = sweep.Progress()
        assert sweep.walk(world.tables, 0, 2 * G, pte_tables=lambda entries, addr: None, progress=progress) == 0
        assert progress.addr == 2 * G

    def test_wrong_tables_are_raised_after_all_before_them(self, world):
        world.put(BASE + 6 * M, 64 * G | 0x67, depth=3)
        seen = []
        with pytest.raises(pw.Malformed):
            sweep.walk(world.tables, pte_tables=lambda entries, addr: seen.extend(addr.tolist()))
        assert seen == [BASE, BASE + 2 * M, BASE + 4 * M]


class TestCompiled:
    """A callback compiled by Numba is called a table at a time, without Python in between."""

    def test_tables_and_entries(self):
        numba = pytest.importorskip("numba")
        world = World()
        for at in range(3):
            world.map(BASE + at * 2 * M, at * PAGE)

        @numba.njit
        def touch(entries, addr):
            for at in range(entries.shape[0]):
                if entries[at] != np.uint64(0):
                    entries[at] |= np.uint64(0x20)
            return 0

        @numba.njit
        def find(entry, addr):
            return 5 if addr == np.uint64(BASE + 2 * M) else 0

        sweep.walk(world.tables, pte_tables=touch, writes=True)
        assert all(value & 0x20 for _, value in world.leaves().values())
        progress = sweep.Progress()
        assert sweep.walk(world.tables, pte_tables=sweep.per_entry(find), progress=progress) == 5
        assert progress.addr == BASE + 2 * M
        with pytest.raises(TypeError, match="njit"):
            sweep.per_entry(lambda entry, addr: 0)

    @given(worlds(pages=12))
    def test_leaves_what_plain_python_leaves(self, marker, world):
        """The same changes, the same end, the same progress."""
        plain, compiled = marker
        before = world.snapshot()
        tables, _ = world.tables()
        outcomes = []
        for callback in (lambda entries, addr: plain_batch(plain, entries, addr), compiled):
            world.restore(before)
            progress = sweep.Progress()
            result = sweep.walk(tables, pte_tables=callback, writes=True, batch=1, progress=progress)
            outcomes.append((result, progress.addr, world.snapshot()))
        assert outcomes[0] == outcomes[1]


def plain_batch(plain, entries, addr):
    """A callback for one table, called for each of a batch."""
    for row, vaddr in zip(entries, addr, strict=True):
        if result := plain(row, vaddr):
            return result
    return 0


@pytest.fixture(scope="module")
def marker():
    """A callback that changes entries and ends some walks: as Python, and compiled."""
    numba = pytest.importorskip("numba")

    def mark(entries, addr):
        for at in range(entries.shape[0]):
            if entries[at] & np.uint64(1) and (addr >> np.uint64(21)) % np.uint64(3) != np.uint64(1):
                entries[at] |= np.uint64(0x400)
            elif entries[at] != np.uint64(0) and at % 5 == 2:
                entries[at] = np.uint64(0)
            if at > 500 and entries[at] & np.uint64(0x41) == np.uint64(0x41):
                return at
        return 0

    return mark, numba.njit(mark)
