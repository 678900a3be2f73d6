"""Contract, "Entry points" and the locks that they check."""

import errno
import threading

import pytest

from pagewalk.errors import WalkError
from pagewalk.formats import Flag
from pagewalk.space import Mapping, MmapLock, VmaFlags, VmaLock
from pagewalk.walk import (
    PGWALK_RDLOCK,
    PGWALK_VMA_RDLOCK_VERIFY,
    PGWALK_WRLOCK,
    PGWALK_WRLOCK_VERIFY,
    WalkOps,
    folio_walk,
    walk_page_mapping,
    walk_page_range,
    walk_page_range_novma,
    walk_page_range_vma,
    walk_page_vma,
)
from tests.world import PAGE, RW, G, M, Recorder, World

BASE = 0x4000_0000


def refused(call, code=errno.EINVAL):
    with pytest.raises(WalkError) as caught:
        call()
    assert caught.value.errno == code
    return str(caught.value)


class TestWalkPageRange:
    """`walk_page_range(mm, start, end, ops, private)`"""

    def test_only_the_range(self):
        world = World()
        world.vma(BASE, BASE + 8 * PAGE)
        world.entry(BASE)
        recorder = Recorder("pte_entry", "pre_vma")
        walk_page_range(world.space, BASE + 2 * PAGE, BASE + 4 * PAGE, recorder.ops)
        assert [call[:2] for call in recorder.named("pte_entry")] == [
            (BASE + at * PAGE, BASE + (at + 1) * PAGE) for at in (2, 3)
        ]
        assert recorder.named("pre_vma") == [(BASE + 2 * PAGE, BASE + 4 * PAGE, None)]


class TestWalkPageRangeVma:
    """`walk_page_range_vma(vma, start, end, ops, private)`, the range inside that VMA, else EINVAL, no `test_walk`"""

    def test_inside(self):
        world = World()
        vma = world.vma(BASE, BASE + 8 * PAGE)
        world.entry(BASE)
        recorder = Recorder("pte_entry", "test_walk")
        walk_page_range_vma(vma, BASE + PAGE, BASE + 2 * PAGE, recorder.ops)
        assert recorder.names == ["pte_entry"]

    @pytest.mark.parametrize(("start", "end"), [(-PAGE, PAGE), (0, 9 * PAGE), (8 * PAGE, 9 * PAGE)])
    def test_outside_is_einval(self, start, end):
        vma = World().vma(BASE, BASE + 8 * PAGE)
        message = refused(lambda: walk_page_range_vma(vma, BASE + start, BASE + end, WalkOps()))
        assert f"{BASE:#x}" in message


class TestWalkPageVma:
    """`walk_page_vma(vma, ops, private)`, no `test_walk`"""

    def test_whole_vma_even_pfnmap(self):
        world = World()
        vma = world.vma(BASE, BASE + 2 * PAGE, VmaFlags.READ | VmaFlags.PFNMAP)
        world.entry(BASE)
        recorder = Recorder("pte_entry", "test_walk")
        walk_page_vma(vma, recorder.ops)
        assert recorder.names == ["pte_entry", "pte_entry"]


class TestWalkPageMapping:
    """`walk_page_mapping(mapping, first_index, nr, ops, private)`, every VMA that maps a file's pages"""

    def world(self):
        world, other = World(), World()
        mapping = Mapping("file")
        world.vma(BASE, BASE + 4 * PAGE, offset=0, mapping=mapping)
        world.vma(BASE + 8 * PAGE, BASE + 10 * PAGE, offset=2 * PAGE, mapping=mapping)
        other.vma(BASE + 64 * PAGE, BASE + 66 * PAGE, offset=3 * PAGE, mapping=mapping)
        world.entry(BASE), other.entry(BASE)
        return world, other, mapping

    def test_every_place_clipped(self):
        world, other, mapping = self.world()
        recorder = Recorder("pre_vma")
        mms = []
        assert walk_page_mapping(mapping, 3, 1, recorder.ops) == 0
        walk_page_mapping(mapping, 3, 1, WalkOps(pte_entry=lambda *call: mms.append(call[3].mm)))
        places = [BASE + 3 * PAGE, BASE + 9 * PAGE, BASE + 64 * PAGE]
        assert recorder.named("pre_vma") == [(at, at + PAGE, None) for at in places]
        assert mms == [world.space, world.space, other.space]

    def test_test_walk_gets_the_vma_and_ends_quietly(self):
        _, _, mapping = self.world()
        recorder = Recorder("pte_entry", test_walk=lambda addr, *_: addr == BASE + 8 * PAGE)
        assert walk_page_mapping(mapping, 0, 8, recorder.ops) == 0
        assert recorder.named("test_walk") == [
            (BASE, BASE + 4 * PAGE, None),
            (BASE + 8 * PAGE, BASE + 10 * PAGE, None),
        ]
        assert len(recorder.named("pte_entry")) == 4

    def test_nothing_mapped(self):
        _, _, mapping = self.world()
        recorder = Recorder("pre_vma")
        assert walk_page_mapping(mapping, 100, 5, recorder.ops) == 0
        assert recorder.calls == []

    def test_positive_result_and_errors(self):
        _, _, mapping = self.world()
        assert walk_page_mapping(mapping, 0, 8, Recorder(pte_entry=lambda *_: 6).ops) == 6
        refused(lambda: walk_page_mapping(mapping, 0, 8, Recorder(test_walk=lambda *_: -errno.EIO).ops), errno.EIO)


class TestWalkPageRangeNovma:
    """`walk_page_range_novma(tables, start, end, ops, root, private)`, raw tables"""

    def test_another_root(self):
        world = World()
        world.map(BASE, 0x5000)
        empty = world.frames.allocate()
        recorder = Recorder("pte_entry", "pgd_entry")
        walks = []
        ops = WalkOps(pgd_entry=lambda *call: walks.append(call[3]))
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops, root=empty)
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, ops, root=empty, private="mine")
        assert recorder.named("pte_entry") == []
        assert (walks[0].pgd, walks[0].private) == (empty, "mine")

    def test_upper_half_to_the_very_end(self):
        world = World()
        top = (1 << 64) - PAGE
        world.map(top, 0x5000)
        recorder = Recorder("pte_entry")
        walk_page_range_novma(world.tables, top, 1 << 64, recorder.ops)
        assert [call[:2] for call in recorder.named("pte_entry")] == [(top, 1 << 64)]


class TestFolioWalk:
    """`folio_walk(vma, addr)`, one address to its leaf entry, level and frame."""

    @pytest.mark.parametrize(("depth", "size"), [(4, PAGE), (3, 2 * M), (2, G)])
    def test_leaf_level_and_frame(self, depth, size):
        world = World()
        vma = world.vma(BASE, BASE + G)
        world.map(BASE, 4 * G, depth=depth)
        found = folio_walk(vma, BASE + size - 1)
        assert (found.level.depth, found.frame) == (depth, 4 * G + size - PAGE)
        assert found.entry.is_leaf

    def test_nothing_there(self):
        world = World()
        vma = world.vma(BASE, BASE + 4 * M)
        assert folio_walk(vma, BASE) is None
        world.put(BASE, world.format.last.marked("guard"))
        world.put(BASE + PAGE, world.format.last.swap(0, 1))
        assert [folio_walk(vma, BASE + at * PAGE) for at in range(3)] == [None] * 3

    def test_zero_page_and_migration_only_when_asked_for(self):
        world = World()
        vma = world.vma(BASE, BASE + 4 * M)
        world.space.zero_frames = frozenset({0x7000})
        world.map(BASE, 0x7000, Flag.READ | Flag.SPECIAL)
        world.map(BASE + PAGE, 0x8000, Flag.READ | Flag.SPECIAL)
        world.put(BASE + 2 * PAGE, world.format.last.swap(26, 9))
        assert [folio_walk(vma, BASE + at * PAGE) for at in range(3)] == [None] * 3
        assert folio_walk(vma, BASE, zeropage=True).frame == 0x7000
        assert folio_walk(vma, BASE + PAGE, zeropage=True) is None
        assert folio_walk(vma, BASE + 2 * PAGE, migration=True).frame == 9 * PAGE

    def test_outside_and_unlocked(self):
        world = World()
        vma = world.vma(BASE, BASE + PAGE)
        refused(lambda: folio_walk(vma, BASE + PAGE))
        world.space.mmap_lock = MmapLock()
        refused(lambda: folio_walk(vma, BASE))
        with world.space.mmap_lock.read():
            assert folio_walk(vma, BASE) is None


class TestEmptyRange:
    """All: `start >= end` is EINVAL."""

    @pytest.mark.parametrize(("start", "end"), [(BASE, BASE), (BASE + PAGE, BASE)])
    def test_einval(self, start, end):
        world = World()
        vma = world.vma(BASE, BASE + 8 * PAGE, mapping=Mapping("file"))
        refused(lambda: walk_page_range(world.space, start, end, WalkOps()))
        refused(lambda: walk_page_range_vma(vma, start, end, WalkOps()))
        refused(lambda: walk_page_range_novma(world.tables, start, end, WalkOps()))
        refused(lambda: walk_page_mapping(vma.mapping, 0, 0, WalkOps()))

    def test_misaligned_and_across_the_canonical_gap(self):
        world = World()
        assert "aligned" in refused(lambda: walk_page_range(world.space, BASE + 1, BASE + PAGE, WalkOps()))
        assert "aligned" in refused(lambda: walk_page_range_novma(world.tables, BASE, BASE + 1, WalkOps()))
        assert "0xffff800000000000" in refused(lambda: walk_page_range_novma(world.tables, 0, 1 << 64, WalkOps()))


class TestWalkLock:
    """`walk_lock`: PGWALK_RDLOCK, PGWALK_WRLOCK, PGWALK_WRLOCK_VERIFY, PGWALK_VMA_RDLOCK_VERIFY: which lock the
    walk demands; not held: WalkError, not a hang."""

    def world(self):
        world = World()
        world.space.mmap_lock = lock = MmapLock()
        vma = world.vma(BASE, BASE + PAGE, lock=VmaLock(lock))
        return world, lock, vma

    def walks(self, world, vma, demand):
        ops = WalkOps(walk_lock=demand)
        return [
            lambda: walk_page_range(world.space, BASE, BASE + PAGE, ops),
            lambda: walk_page_range_vma(vma, BASE, BASE + PAGE, ops),
            lambda: walk_page_vma(vma, ops),
        ]

    @pytest.mark.parametrize("demand", [PGWALK_RDLOCK, PGWALK_WRLOCK, PGWALK_WRLOCK_VERIFY, PGWALK_VMA_RDLOCK_VERIFY])
    def test_nothing_held(self, demand):
        world, _, vma = self.world()
        for walk in self.walks(world, vma, demand):
            assert demand.name in refused(walk) or demand is PGWALK_VMA_RDLOCK_VERIFY

    def test_rdlock(self):
        world, lock, vma = self.world()
        for hold in (lock.read, lock.write):
            with hold():
                assert [walk() for walk in self.walks(world, vma, PGWALK_RDLOCK)] == [0, 0, 0]

    def test_wrlock_marks_the_vma(self):
        world, lock, vma = self.world()
        with lock.read():
            for walk in self.walks(world, vma, PGWALK_WRLOCK):
                refused(walk)
        for walk in self.walks(world, vma, PGWALK_WRLOCK):
            with lock.write():
                assert not vma.lock.held_for_writing
                assert walk() == 0
                assert vma.lock.held_for_writing
            assert not vma.lock.held

    def test_wrlock_verify(self):
        world, lock, vma = self.world()
        with lock.write():
            for walk in self.walks(world, vma, PGWALK_WRLOCK_VERIFY):
                assert "write-locked" in refused(walk)
            vma.lock.start_write()
            assert [walk() for walk in self.walks(world, vma, PGWALK_WRLOCK_VERIFY)] == [0, 0, 0]

    def test_vma_rdlock_verify(self):
        world, _, vma = self.world()
        with vma.lock.read() as held:
            assert held
            assert [walk() for walk in self.walks(world, vma, PGWALK_VMA_RDLOCK_VERIFY)] == [0, 0, 0]

    def test_another_thread_holding_it_does_not_count(self):
        world, lock, vma = self.world()
        taken, done = threading.Event(), threading.Event()

        def hold():
            with lock.read():
                taken.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait()
        try:
            refused(self.walks(world, vma, PGWALK_RDLOCK)[0])
        finally:
            done.set()
            thread.join()

    def test_a_snapshot_has_no_lock_to_hold(self):
        world = World()
        vma = world.vma(BASE, BASE + PAGE)
        world.map(BASE, 0x5000, RW)
        for demand in (PGWALK_RDLOCK, PGWALK_WRLOCK, PGWALK_WRLOCK_VERIFY, PGWALK_VMA_RDLOCK_VERIFY):
            assert [walk() for walk in self.walks(world, vma, demand)] == [0, 0, 0]
