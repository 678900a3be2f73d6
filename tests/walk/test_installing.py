"""Contract, "Installing": growing, filling, SKIP, huge pages, hugetlb, aborts, and who may."""

import errno
import warnings

import pytest

import pagewalk
from pagewalk.errors import OutOfFrames, WalkError
from pagewalk.formats import Flag, Kind
from pagewalk.frames import CountingAllocator, RangeAllocator
from pagewalk.space import VmaFlags
from pagewalk.walk import (
    SKIP,
    Walk,
    WalkOps,
    walk_page_range,
    walk_page_range_novma,
    walk_page_range_vma,
    walk_page_vma,
)
from pagewalk.walk.ranges import (
    walk_page_range_mm,
    walk_page_range_novma_mm,
    walk_page_range_vma_mm,
)
from tests.world import PAGE, RW, G, M, Recorder, World

BASE = 0x4000_0000


def guards(world):
    return WalkOps(install_pte=lambda *_: world.format.last.marked("guard"))


class TestEmptyUpperEntry:
    """An empty upper entry, instead of a hole callback: the next table is allocated, zeroed, linked, and the walk
    goes on into it. So with `install_pte` there are no holes inside VMAs, and all levels are walked."""

    @pytest.mark.parametrize("format_name", ["x86-64", "x86-64-la57"])
    def test_grown_instead_of_reported(self, format_name):
        world = World(format_name)
        world.vma(BASE, BASE + 4 * M)
        recorder = Recorder("pte_hole", *Recorder.ENTRIES, install_pte=lambda *_: SKIP)
        walk_page_range_mm(world.space, BASE, BASE + 4 * M, recorder.ops)
        assert "pte_hole" not in recorder.names
        assert recorder.names[:5] == ["pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "install_pte"]
        assert recorder.names.count("install_pte") == 1024

    def test_zeroed(self):
        world = World()
        world.memory.write(PAGE, b"\xff" * (8 * M))
        world.vma(BASE, BASE + 2 * M)
        walk_page_range_mm(world.space, BASE, BASE + PAGE, guards(world))
        assert world.leaves() == {BASE: (4, world.format.last.marked("guard"))}

    def test_holes_between_vmas_stay_holes(self):
        world = World()
        world.vma(BASE + PAGE, BASE + 2 * PAGE)
        recorder = Recorder("pte_hole", install_pte=lambda *_: world.format.last.marked("guard"))
        walk_page_range_mm(world.space, BASE, BASE + 3 * PAGE, recorder.ops)
        assert recorder.calls == [
            ("pte_hole", BASE, BASE + PAGE, -1),
            ("install_pte", BASE + PAGE, BASE + 2 * PAGE, None),
            ("pte_hole", BASE + 2 * PAGE, BASE + 3 * PAGE, -1),
        ]


class TestPteLevel:
    """At the PTE level: empty, `install_pte` is called and its value is set, then the architecture's
    `update_mmu_cache` hook runs (VMA walks only; a `no_vma` install warns once). Existing: `pte_entry`, if
    there is one; if there is none the entry is left as it is. (The C code calls a null pointer there. We do
    not.)"""

    def test_hook_runs_after_the_value_is_set(self):
        world = World()
        vma = world.vma(BASE, BASE + 2 * PAGE)
        world.map(BASE + PAGE, 0x5000)
        seen = []
        world.space.update_mmu_cache = lambda vma, addr, entry: seen.append((vma, addr, entry.kind))
        walk_page_range_mm(world.space, BASE, BASE + 2 * PAGE, guards(world))
        assert seen == [(vma, BASE, Kind.GUARD)]

    def test_no_vma_warns_once(self):
        world = World()
        with pytest.warns(RuntimeWarning, match="update_mmu_cache") as caught:
            walk_page_range_novma_mm(world.tables, BASE, BASE + 8 * PAGE, guards(world))
        assert len(caught) == 1
        assert len(world.leaves()) == 8

    def test_existing_without_pte_entry_is_left(self):
        world = World()
        world.vma(BASE, BASE + 2 * PAGE)
        world.map(BASE, 0x5000)
        before = world.entry(BASE).value
        walk_page_range_mm(world.space, BASE, BASE + 2 * PAGE, guards(world))
        assert world.entry(BASE).value == before
        assert world.entry(BASE + PAGE).kind is Kind.GUARD

    def test_accessed_and_dirty_alone_are_empty(self):
        """`pte_none()` on x86 does not look at those two bits."""
        world = World()
        world.vma(BASE, BASE + PAGE)
        world.put(BASE, 0x60)
        walk_page_range_mm(world.space, BASE, BASE + PAGE, guards(world))
        assert world.entry(BASE).kind is Kind.GUARD


class TestSkip:
    """**Skip**: `install_pte` may return `SKIP`: the slot stays empty and the walk goes on. (Asked for in the
    review; no kernel has it.)"""

    def test_every_other(self):
        world = World()
        world.vma(BASE, BASE + 8 * PAGE)
        guard = world.format.last.marked("guard")
        ops = WalkOps(install_pte=lambda addr, *_: SKIP if addr & PAGE else guard)
        walk = Walk(world.tables, ops, mm=world.space)
        hooked = []
        world.space.update_mmu_cache = lambda vma, addr, entry: hooked.append(addr)
        assert walk_page_range_mm(world.space, BASE, BASE + 8 * PAGE, ops, walk=walk) == 0
        assert list(world.leaves()) == hooked == [BASE + at * PAGE for at in (0, 2, 4, 6)]
        assert (walk.installed, walk.addr) == (4, BASE + 8 * PAGE)


class TestHugePages:
    """**Huge pages**: a PMD- or PUD-sized page is split, if a lower handler has work in it, into a full table of
    the next size down, same frames, same permissions, same accessed/dirty/soft-dirty bits. A walk that *only*
    installs does not split a present huge page: it has no hole in it."""

    FLAGS = (RW, RW | Flag.ACCESSED | Flag.DIRTY | Flag.SOFT_DIRTY, Flag.READ | Flag.EXEC | Flag.GLOBAL | Flag.UFFD_WP)

    @pytest.mark.parametrize("flags", FLAGS)
    @pytest.mark.parametrize(("depth", "size"), [(3, 2 * M), (2, G)])
    def test_split_keeps_frames_rights_and_bits(self, depth, size, flags):
        world = World()
        world.vma(BASE, BASE + G)
        world.map(BASE, 4 * G, flags, depth=depth)
        places = [0, PAGE, 511 * PAGE, size // 2, size - PAGE]
        before = [world.tables.translate(BASE + place)[1:] for place in places]
        walk_page_range(world.space, BASE, BASE + PAGE, Recorder("pte_entry").ops)
        after = [world.tables.translate(BASE + place)[1:] for place in places]
        assert [(p, f, k) for p, _, f, k, _ in before] == [(p, f, k) for p, _, f, k, _ in after]
        assert after[0][1] == PAGE

    def test_next_size_down_only(self):
        world = World()
        world.vma(BASE, BASE + G)
        world.map(BASE, 4 * G, depth=2)
        walk_page_range(world.space, BASE, BASE + PAGE, Recorder("pmd_entry").ops)
        assert [(depth, addr) for addr, (depth, _) in world.leaves().items()] == [
            (3, BASE + at * 2 * M) for at in range(512)
        ]

    def test_memory_type_moves_with_the_size(self):
        world = World()
        world.vma(BASE, BASE + 2 * M)
        world.put(BASE, 4 * M | 1 << 12 | 0x87 | 0x18, depth=3)  # PAT of a large page is bit 12, of a small one bit 7
        walk_page_range(world.space, BASE, BASE + PAGE, Recorder("pte_entry").ops)
        assert world.entry(BASE + PAGE).value == 4 * M + PAGE | 0x87 | 0x18

    def test_prot_none_and_migration_are_split_too(self):
        world = World()
        form = world.format
        world.vma(BASE, BASE + 4 * M)
        frame = 0x0600_0000
        inverted = (((1 << 52) - 1) ^ frame) & ((1 << 52) - (1 << 21))
        world.put(BASE, 1 << 63 | inverted | 0x1E0, depth=3)
        world.put(BASE + 2 * M, form.last.swap(25, 0x700), depth=3)
        walk_page_range(world.space, BASE, BASE + 4 * M, Recorder("pte_entry").ops)
        for at in (0, 1, 511):
            page, moved = world.entry(BASE + at * PAGE), world.entry(BASE + 2 * M + at * PAGE)
            assert (page.kind, page.target) == (Kind.PROT_NONE, frame + at * PAGE)
            assert page.flags == Flag.ACCESSED | Flag.DIRTY
            assert (moved.kind, moved.target) == (Kind.MIGRATION, (0x700 + at) * PAGE)

    def test_split_before_pte_entry_when_installing_with_a_handler(self):
        world = World()
        world.vma(BASE, BASE + 2 * M)
        world.map(BASE, 4 * M, depth=3)
        recorder = Recorder("pte_entry", install_pte=lambda *_: SKIP)
        walk_page_range_mm(world.space, BASE, BASE + 2 * M, recorder.ops)
        assert recorder.names == ["pte_entry"] * 512

    @pytest.mark.parametrize("depth", [2, 3])
    @pytest.mark.parametrize("names", [(), ("pgd_entry", "p4d_entry", "pud_entry")])
    def test_only_installing_does_not_split(self, depth, names):
        world = World()
        world.vma(BASE, BASE + G)
        world.map(BASE, 4 * G, depth=depth)
        before = world.leaves()[BASE]
        recorder = Recorder(*names, install_pte=lambda *_: SKIP)
        walk = Walk(world.tables, recorder.ops, mm=world.space)
        walk_page_range_mm(world.space, BASE, BASE + 2 * M, recorder.ops, walk=walk)
        assert world.leaves()[BASE] == before
        assert walk.tables_allocated == 0

    def test_a_split_that_finds_no_frame_leaves_the_page_whole(self):
        world = World()
        world.vma(BASE, BASE + 2 * M)
        world.map(BASE, 4 * M, depth=3)
        before = world.leaves()
        world.frames.fail_at = {world.frames.calls + 1}
        with pytest.raises(OutOfFrames) as caught:
            walk_page_range(world.space, BASE, BASE + PAGE, Recorder("pte_entry").ops)
        assert (caught.value.errno, caught.value.vaddr, caught.value.depth) == (errno.ENOMEM, BASE, 3)
        assert world.leaves() == before


class TestHugetlb:
    """**hugetlb**: installing in a hugetlb VMA is EINVAL, before `pre_vma`."""

    def test_refused(self):
        world = World()
        world.vma(BASE, BASE + 2 * M, VmaFlags.READ | VmaFlags.HUGETLB, huge_page_size=2 * M)
        recorder = Recorder("pre_vma", "post_vma", install_pte=lambda *_: SKIP)
        with pytest.raises(WalkError, match="hugetlb") as caught:
            walk_page_range_mm(world.space, BASE, BASE + 2 * M, recorder.ops)
        assert caught.value.errno == errno.EINVAL
        assert recorder.calls == []


class TestAbort:
    """**Abort**: when `install_pte` fails, or a table cannot be allocated (ENOMEM), the walk ends there. What was
    installed stays, nothing is half-written, no frame leaks, every table is linked or freed; the caller
    decides. `walk.addr` and `walk.installed` say how far it got."""

    END = BASE + 4 * M

    def run(self, world, ops):
        walk = Walk(world.tables, ops, mm=world.space)
        error = None
        try:
            walk_page_range_mm(world.space, BASE, self.END, ops, walk=walk)
        except (OutOfFrames, WalkError, KeyError) as caught:
            error = caught
        return walk, error

    @pytest.mark.parametrize("format_name", ["x86-64", "x86-64-la57"])
    def test_every_allocation_can_fail(self, format_name):
        whole = World(format_name)
        whole.vma(BASE, self.END)
        self.run(whole, guards(whole))
        tables = whole.frames.calls
        assert tables == (4 if format_name == "x86-64" else 5)
        for nth in range(1, tables + 1):
            world = World(format_name, fail_at=[nth])
            world.vma(BASE, self.END)
            walk, error = self.run(world, guards(world))
            assert isinstance(error, OutOfFrames)
            assert (error.errno, error.vaddr) == (errno.ENOMEM, walk.addr)
            assert walk.addr == (BASE + 2 * M if nth == tables else BASE)
            assert len(world.leaves()) == walk.installed == (walk.addr - BASE) // PAGE
            assert world.reachable() == world.frames.outstanding
            assert walk.tables_allocated == nth - 1
            again, error = self.run(world, guards(world))
            assert error is None
            assert world.leaves() == whole.leaves()
            assert again.installed + walk.installed == 1024

    @pytest.mark.parametrize("how", ["raise", "errno"])
    def test_install_can_fail_at_every_position(self, how):
        guard = World().format.last.marked("guard")
        for position in [*range(0, 1024, 37), 511, 512, 1023]:
            world = World()
            world.vma(BASE, self.END)
            fail_addr = BASE + position * PAGE

            def install(addr, next_, walk, fail_addr=fail_addr):
                if addr != fail_addr:
                    return guard
                if how == "raise":
                    raise KeyError(addr)
                return -errno.ENOSPC

            walk, error = self.run(world, WalkOps(install_pte=install))
            assert isinstance(error, KeyError if how == "raise" else WalkError)
            assert (walk.addr, walk.installed) == (fail_addr, position)
            assert list(world.leaves()) == [BASE + at * PAGE for at in range(position)]
            assert world.reachable() == world.frames.outstanding
            self.run(world, guards(world))
            assert len(world.leaves()) == 1024

    def test_a_frame_that_cannot_be_written_is_given_back(self):
        world = World()
        world.vma(BASE, self.END)
        world.tables.allocator = outside = CountingAllocator(RangeAllocator((1 << 40, (1 << 40) + M)))
        with pytest.raises(pagewalk.MemoryWriteError, match="0x10000000000"):
            walk_page_range_mm(world.space, BASE, self.END, guards(world))
        assert outside.outstanding == set()
        assert world.leaves() == {}

    def test_tables_without_an_allocator_cannot_grow(self):
        world = World()
        world.vma(BASE, self.END)
        world.tables.allocator = None
        with pytest.raises(pagewalk.UnsupportedError, match="no frame allocator"):
            walk_page_range_mm(world.space, BASE, self.END, guards(world))


class TestNoTlbMaintenance:
    """No TLB maintenance: only empty entries are filled, and those are not cached. (On RISC-V an implementation
    may cache them: the hook says so.)"""

    def test_a_present_entry_is_never_written(self):
        world = World()
        world.vma(BASE, BASE + 4 * PAGE)
        for at in (0, 2):
            world.map(BASE + at * PAGE, 0x5000)
        before = world.leaves()
        walk_page_range_mm(world.space, BASE, BASE + 4 * PAGE, guards(world))
        after = world.leaves()
        assert {addr: after[addr] for addr in before} == before

    def test_the_hook_says_so(self):
        assert "caches empty entries" in " ".join((pagewalk.AddressSpace.update_mmu_cache.__doc__ or "").split())


class TestWhoMay:
    """**Who may**: the public functions refuse ops with `install_pte` (EINVAL). The walkers that accept it,
    `walk_page_range_mm` and `walk_page_range_vma_mm`, are for the memory-management code (`mm/`, `edit/`), and
    not among the package's public names."""

    def test_public_functions_refuse(self):
        world = World()
        vma = world.vma(BASE, BASE + M, mapping=pagewalk.Mapping("file"))
        ops = guards(world)
        calls = [
            lambda: walk_page_range(world.space, BASE, BASE + M, ops),
            lambda: walk_page_range_vma(vma, BASE, BASE + M, ops),
            lambda: walk_page_vma(vma, ops),
            lambda: walk_page_range_novma(world.tables, BASE, BASE + M, ops),
            lambda: pagewalk.walk_page_mapping(vma.mapping, 0, 1, ops),
        ]
        for call in calls:
            with pytest.raises(WalkError, match="install_pte is not permitted") as caught:
                call()
            assert caught.value.errno == errno.EINVAL
        assert world.leaves() == {}

    def test_the_installing_ones_accept(self):
        world = World()
        vma = world.vma(BASE, BASE + 2 * PAGE)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            walk_page_range_mm(world.space, BASE, BASE + PAGE, guards(world))
            walk_page_range_vma_mm(vma, BASE + PAGE, BASE + 2 * PAGE, guards(world))
        assert len(world.leaves()) == 2

    def test_not_public(self):
        assert not [name for name in pagewalk.__all__ if name.endswith("_mm")]
        assert not [name for name in pagewalk.walk.__all__ if name.endswith("_mm")]
