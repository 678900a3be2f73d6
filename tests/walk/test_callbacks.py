"""Contract, "Callbacks": when each is called, what it returns, and ``walk.action``."""

import errno

import pytest

from pagewalk.errors import WalkError
from pagewalk.formats import Flag
from pagewalk.space import Vma, VmaFlags
from pagewalk.walk import Action, Walk, WalkOps, walk_page_range, walk_page_range_novma
from pagewalk.walk.ranges import walk_page_range_mm
from tests.world import PAGE, G, K, M, Recorder, World

HALVES = [0x4000_0000, 0xFFFF_8000_4000_0000]
FORMATS = ["x86-64", "x86-64-la57"]


@pytest.fixture(params=FORMATS)
def world(request):
    return World(request.param)


@pytest.fixture(params=HALVES, ids=["lower", "upper"])
def base(request):
    return request.param


def novma(world, start, end, *names, **answers):
    recorder = Recorder(*names, **answers)
    result = walk_page_range_novma(world.tables, start, end, recorder.ops)
    return recorder, result


class TestUpperEntries:
    """`pgd_entry, p4d_entry, pud_entry, pmd_entry (entry, addr, next, walk)`: for every non-empty entry of that
    level in the range, huge ones included, before its subtree."""

    def test_every_non_empty_entry_and_only_those(self, world, base):
        world.map(base, 0x5000)
        world.map(base + 4 * M, 0x6000)
        recorder, _ = novma(world, base, base + 8 * M, "pud_entry", "pmd_entry")
        assert [call[:2] for call in recorder.named("pmd_entry")] == [
            (base, base + 2 * M),
            (base + 4 * M, base + 6 * M),
        ]
        assert [call[:2] for call in recorder.named("pud_entry")] == [(base, base + 8 * M)]

    def test_huge_ones_included(self, world, base):
        world.map(base, 2 * M, depth=3)
        world.map(base + G, G, depth=2)
        recorder, _ = novma(world, base, base + 2 * G, "pud_entry", "pmd_entry")
        assert [call[:2] for call in recorder.named("pmd_entry")] == [(base, base + 2 * M)]
        assert [call[:2] for call in recorder.named("pud_entry")] == [(base, base + G), (base + G, base + 2 * G)]

    def test_before_its_subtree(self, world, base):
        world.map(base, 0x5000)
        recorder, _ = novma(world, base, base + PAGE, *Recorder.ENTRIES)
        assert recorder.names == list(Recorder.ENTRIES)

    def test_a_not_present_entry_is_not_empty(self, world, base):
        migration = world.format.last.swap(25, 512)
        world.put(base, migration, depth=3)
        recorder, _ = novma(world, base, base + 2 * M, "pmd_entry", "pte_hole")
        assert recorder.calls == [("pmd_entry", base, base + 2 * M, migration)]


class TestPteEntry:
    """`pte_entry(entry, addr, next, walk)`: for every entry of the lowest level, empty ones too, unless
    `install_pte` is set: then only for entries that exist."""

    def test_empty_ones_too(self, world, base):
        world.map(base + PAGE, 0x5000)
        recorder, _ = novma(world, base, base + 4 * PAGE, "pte_entry")
        values = [(addr, bool(value)) for addr, _, value in recorder.named("pte_entry")]
        assert values == [(base, False), (base + PAGE, True), (base + 2 * PAGE, False), (base + 3 * PAGE, False)]

    def test_with_install_pte_only_those_that_exist(self, world, base):
        world.vma(base, base + 2 * M)
        world.map(base + PAGE, 0x5000)
        guard = world.format.last.marked("guard")
        recorder = Recorder("pte_entry", install_pte=lambda addr, next_, walk: guard)
        walk_page_range_mm(world.space, base, base + 3 * PAGE, recorder.ops)
        assert [(name, addr) for name, addr, *_ in recorder.calls] == [
            ("install_pte", base),
            ("pte_entry", base + PAGE),
            ("install_pte", base + 2 * PAGE),
        ]


class TestInstallPte:
    """`install_pte(addr, next, walk) -> value`: for every empty lowest-level entry; the returned raw value is
    installed there."""

    def test_value_is_installed(self, world, base):
        world.vma(base, base + 2 * M)
        values = {base + at * PAGE: world.format.leaf_entry(at * PAGE, int(Flag.READ | Flag.USER)) for at in range(8)}
        recorder = Recorder(install_pte=lambda addr, next_, walk: values[addr])
        assert walk_page_range_mm(world.space, base, base + 8 * PAGE, recorder.ops) == 0
        assert {addr: raw for addr, (depth, raw) in world.leaves().items()} == values
        assert recorder.named("install_pte") == [(addr, addr + PAGE, None) for addr in values]

    def test_what_is_no_entry_is_refused(self, world, base):
        world.vma(base, base + 2 * M)
        for value in (0, 1 << 64):
            ops = WalkOps(install_pte=lambda addr, next_, walk, value=value: value)
            with pytest.raises(ValueError, match="SKIP leaves the slot empty"):
                walk_page_range_mm(world.space, base, base + PAGE, ops)
        with pytest.raises(TypeError):
            walk_page_range_mm(world.space, base, base + PAGE, WalkOps(install_pte=lambda *_: None))
        assert world.leaves() == {}


class TestPteHole:
    """`pte_hole(addr, next, depth, walk)`: for every hole: an empty entry above the PTE level at its depth (0 PGD
    .. 3 PMD); -1 outside VMAs, in a VM_PFNMAP VMA, or where a hugetlb entry has no table."""

    @pytest.mark.parametrize("format_name", FORMATS)
    @pytest.mark.parametrize("depth", [0, 1, 2, 3])
    def test_empty_entry_at_its_depth(self, format_name, depth, base):
        world = World(format_name)
        if depth == 1 and format_name == "x86-64":
            depth = 0
        if depth:
            world.entry(base, depth)
        recorder, _ = novma(world, base, base + PAGE, "pte_hole", "pte_entry")
        assert recorder.calls == [("pte_hole", base, base + PAGE, depth)]

    def test_outside_vmas(self, world, base):
        world.vma(base + 4 * PAGE, base + 6 * PAGE)
        world.entry(base)
        recorder = Recorder("pte_hole")
        seen = []
        ops = WalkOps(pte_hole=lambda *call: seen.append((call[:3], call[3].vma)))
        walk_page_range(world.space, base, base + 9 * PAGE, ops)
        walk_page_range(world.space, base, base + 9 * PAGE, recorder.ops)
        outside = [(base, base + 4 * PAGE, -1), (base + 6 * PAGE, base + 9 * PAGE, -1)]
        assert recorder.named("pte_hole") == outside
        assert seen == [(hole, None) for hole in outside]

    def test_pfnmap(self, world, base):
        world.vma(base, base + 2 * M, VmaFlags.READ | VmaFlags.PFNMAP)
        world.map(base, 0x5000)
        recorder = Recorder("pte_hole", "pte_entry", "pre_vma")
        walk_page_range(world.space, base, base + 2 * M, recorder.ops)
        assert recorder.calls == [("pte_hole", base, base + 2 * M, -1)]

    def test_hugetlb_without_table(self, world, base):
        world.vma(base, base + 4 * M, VmaFlags.READ | VmaFlags.HUGETLB, huge_page_size=2 * M)
        recorder = Recorder("pte_hole", "hugetlb_entry")
        walk_page_range(world.space, base, base + 4 * M, recorder.ops)
        assert recorder.calls == [("pte_hole", at, at + 2 * M, -1) for at in (base, base + 2 * M)]


class TestHugetlbEntry:
    """`hugetlb_entry(entry, hmask, addr, next, walk)`: for each hugetlb entry; hugetlb VMAs see no other entry
    callback."""

    @pytest.mark.parametrize(("size", "depth"), [(2 * M, 3), (G, 2)])
    def test_each_entry_empty_ones_too(self, world, base, size, depth):
        world.vma(base, base + 2 * size, VmaFlags.READ | VmaFlags.HUGETLB, huge_page_size=size)
        world.map(base, size, depth=depth)
        recorder = Recorder("hugetlb_entry", "pte_hole", *Recorder.ENTRIES)
        walk_page_range(world.space, base + size // 2, base + 2 * size, recorder.ops)
        mask = (1 << 64) - size
        assert recorder.calls == [
            ("hugetlb_entry", base + size // 2, base + size, mask),
            ("hugetlb_entry", base + size, base + 2 * size, mask),
        ]

    def test_no_other_entry_callback(self, world, base):
        world.vma(base, base + 2 * M, VmaFlags.READ | VmaFlags.HUGETLB, huge_page_size=2 * M)
        world.map(base, 2 * M, depth=3)
        recorder = Recorder("pte_hole", "pre_vma", "post_vma", *Recorder.ENTRIES)
        walk_page_range(world.space, base, base + 2 * M, recorder.ops)
        assert recorder.names == ["pre_vma", "post_vma"]

    def test_the_entry_is_the_huge_one(self, world, base):
        world.vma(base, base + 2 * M, VmaFlags.READ | VmaFlags.HUGETLB, huge_page_size=2 * M)
        world.map(base, 6 * M, depth=3)
        targets = []
        ops = WalkOps(hugetlb_entry=lambda entry, *_: targets.append((entry.target, entry.is_leaf)))
        walk_page_range(world.space, base, base + 2 * M, ops)
        assert targets == [(6 * M, True)]


class TestTestWalk:
    """`test_walk(addr, next, walk)`: before a VMA, in `walk_page_range` and `walk_page_mapping` only: 0 walk it,
    >0 skip it, error aborts. The positive value never reaches the caller. Without it, VM_PFNMAP VMAs are
    skipped, after a `pte_hole` if there is one."""

    def walk(self, world, base, answer, *names):
        world.vma(base, base + 2 * PAGE)
        world.vma(base + 4 * PAGE, base + 6 * PAGE)
        recorder = Recorder("pre_vma", *names, test_walk=answer)
        return recorder, lambda: walk_page_range(world.space, base + PAGE, base + 8 * PAGE, recorder.ops)

    def test_zero_walks_it(self, world, base):
        recorder, walk = self.walk(world, base, lambda *_: 0)
        assert walk() == 0
        assert [call[:3] for call in recorder.calls] == [
            ("test_walk", base + PAGE, base + 2 * PAGE),
            ("pre_vma", base + PAGE, base + 2 * PAGE),
            ("test_walk", base + 4 * PAGE, base + 6 * PAGE),
            ("pre_vma", base + 4 * PAGE, base + 6 * PAGE),
        ]

    def test_positive_skips_and_never_reaches_the_caller(self, world, base):
        recorder, walk = self.walk(world, base, lambda addr, *_: 7 if addr == base + PAGE else 0)
        assert walk() == 0
        assert recorder.named("pre_vma") == [(base + 4 * PAGE, base + 6 * PAGE, None)]

    def test_error_aborts(self, world, base):
        recorder, walk = self.walk(world, base, lambda *_: -errno.EPERM)
        with pytest.raises(WalkError) as caught:
            walk()
        assert caught.value.errno == errno.EPERM
        assert recorder.names == ["test_walk"]

    def test_with_it_pfnmap_is_walked(self, world, base):
        world.vma(base, base + PAGE, VmaFlags.READ | VmaFlags.PFNMAP)
        world.map(base, 0x5000)
        recorder = Recorder("pte_entry", "pte_hole", test_walk=lambda *_: 0)
        walk_page_range(world.space, base, base + PAGE, recorder.ops)
        assert recorder.names == ["test_walk", "pte_entry"]

    def test_positive_hole_in_pfnmap_stays_inside(self, world, base):
        world.vma(base, base + PAGE, VmaFlags.READ | VmaFlags.PFNMAP)
        assert walk_page_range(world.space, base, base + PAGE, Recorder(pte_hole=lambda *_: 3).ops) == 0


class TestPreAndPostVma:
    """`pre_vma(start, end, walk)`, `post_vma(walk)`: around a VMA. `post_vma` runs after an error in the walk too,
    but not when `pre_vma` itself failed."""

    def test_around_each(self, world, base):
        world.vma(base, base + 2 * PAGE)
        world.vma(base + 2 * PAGE, base + 3 * PAGE)
        world.entry(base)
        recorder = Recorder("pre_vma", "post_vma", "pte_entry")
        walk_page_range(world.space, base, base + 3 * PAGE, recorder.ops)
        assert recorder.names == ["pre_vma", "pte_entry", "pte_entry", "post_vma", "pre_vma", "pte_entry", "post_vma"]

    def test_post_after_an_error(self, world, base):
        world.vma(base, base + PAGE)
        world.entry(base)

        def fail(*_):
            raise KeyError(base)

        recorder = Recorder("pre_vma", "post_vma", pte_entry=fail)
        with pytest.raises(KeyError):
            walk_page_range(world.space, base, base + PAGE, recorder.ops)
        assert recorder.names == ["pre_vma", "pte_entry", "post_vma"]

    def test_post_after_a_positive_end(self, world, base):
        world.vma(base, base + PAGE)
        world.entry(base)
        recorder = Recorder("post_vma", pte_entry=lambda *_: 5)
        assert walk_page_range(world.space, base, base + PAGE, recorder.ops) == 5
        assert recorder.names == ["pte_entry", "post_vma"]

    @pytest.mark.parametrize("answer", [-errno.ENOENT, 4])
    def test_not_when_pre_vma_failed(self, world, base, answer):
        world.vma(base, base + PAGE)
        recorder = Recorder("post_vma", "pte_hole", pre_vma=lambda *_: answer)
        if answer < 0:
            with pytest.raises(WalkError):
                walk_page_range(world.space, base, base + PAGE, recorder.ops)
        else:
            assert walk_page_range(world.space, base, base + PAGE, recorder.ops) == answer
        assert recorder.names == ["pre_vma"]


class TestEntryReference:
    """`entry` is a reference to one slot: its raw value can be read and set, and it decodes itself by the format."""

    def test_reads_sets_and_decodes(self, world, base):
        world.map(base, 0x5000, Flag.READ | Flag.USER)
        kept = []

        def protect(entry, addr, next_, walk):
            kept.append(entry)
            assert (entry.target, entry.flags, entry.is_leaf) == (0x5000, Flag.READ | Flag.USER, True)
            entry.value = world.format.leaf_entry(0x7000, int(Flag.READ | Flag.WRITE))

        walk_page_range_novma(world.tables, base, base + PAGE, WalkOps(pte_entry=protect))
        assert world.tables.translate(base).paddr == 0x7000
        (entry,) = kept
        assert entry.flags == Flag.READ | Flag.WRITE
        assert world.memory.read(entry.paddr, 8) == entry.value.to_bytes(8, "little")


class TestReturnValues:
    """All callbacks: None or 0, go on; a positive int ends the walk and is returned to the caller; a raised
    exception ends it and propagates untouched. A negative int means -errno and is raised as the matching
    WalkError."""

    CALLBACKS = (*Recorder.ENTRIES, "pte_hole", "pre_vma")

    def prepare(self, world, base):
        world.vma(base, base + 4 * M)
        world.map(base, 0x5000)

    @pytest.mark.parametrize("name", CALLBACKS)
    @pytest.mark.parametrize("answer", [None, 0])
    def test_go_on(self, world, base, name, answer):
        self.prepare(world, base)
        recorder = Recorder(**{name: lambda *_: answer})
        assert walk_page_range(world.space, base, base + 6 * M, recorder.ops) == 0

    @pytest.mark.parametrize("name", CALLBACKS)
    def test_positive_ends_and_is_returned(self, world, base, name):
        self.prepare(world, base)
        recorder = Recorder(**{name: lambda *_: 9})
        assert walk_page_range(world.space, base, base + 6 * M, recorder.ops) == 9
        assert recorder.names == [name]

    @pytest.mark.parametrize("name", CALLBACKS)
    def test_exception_untouched(self, world, base, name):
        self.prepare(world, base)
        error = ArithmeticError("mine")

        def fail(*_):
            raise error

        recorder = Recorder(**{name: fail})
        with pytest.raises(ArithmeticError) as caught:
            walk_page_range(world.space, base, base + 6 * M, recorder.ops)
        assert caught.value is error
        assert recorder.names == [name]

    @pytest.mark.parametrize("name", CALLBACKS)
    def test_negative_is_errno(self, world, base, name):
        self.prepare(world, base)
        recorder = Recorder(**{name: lambda *_: -errno.EBUSY})
        with pytest.raises(WalkError, match="EBUSY") as caught:
            walk_page_range(world.space, base, base + 6 * M, recorder.ops)
        assert caught.value.errno == errno.EBUSY
        assert recorder.names == [name]

    def test_anything_else_is_a_type_error(self, world, base):
        self.prepare(world, base)
        with pytest.raises(TypeError):
            walk_page_range(world.space, base, base + 4 * M, Recorder(pte_entry=lambda *_: "stop").ops)


class TestAction:
    """`walk.action`, settable in `pud_entry` and `pmd_entry` (pgd and p4d have none): SUBTREE, the default,
    descends and splits a huge entry if something below has work; CONTINUE goes to the next entry of this level;
    AGAIN looks at this entry afresh. The action is reset before each look."""

    @staticmethod
    def setting(action, times=1):
        left = [times]

        def answer(entry, addr, next_, walk):
            assert walk.action is Action.SUBTREE
            if left[0]:
                left[0] -= 1
                walk.action = action

        return answer

    @pytest.mark.parametrize("name", ["pud_entry", "pmd_entry"])
    def test_subtree_descends_and_splits(self, world, base, name):
        world.vma(base, base + G)
        world.map(base, 0, depth=2 if name == "pud_entry" else 3)
        recorder = Recorder("pte_entry", **{name: self.setting(Action.SUBTREE)})
        walk_page_range(world.space, base, base + PAGE, recorder.ops)
        assert recorder.names == [name, "pte_entry"]
        assert world.tables.translate(base).page_size == 4 * K

    @pytest.mark.parametrize("name", ["pud_entry", "pmd_entry"])
    def test_continue(self, world, base, name):
        world.vma(base, base + 2 * G)
        world.map(base, 0, depth=2 if name == "pud_entry" else 3)
        before = world.leaves()
        recorder = Recorder("pte_entry", **{name: self.setting(Action.CONTINUE)})
        walk_page_range(world.space, base, base + 2 * M, recorder.ops)
        assert recorder.names == [name]
        assert world.leaves() == before

    @pytest.mark.parametrize("name", ["pud_entry", "pmd_entry"])
    def test_again(self, world, base, name):
        world.vma(base, base + G)
        world.map(base, 0x5000)
        recorder = Recorder("pte_entry", **{name: self.setting(Action.AGAIN, times=2)})
        walk_page_range(world.space, base, base + PAGE, recorder.ops)
        assert recorder.names == [name, name, name, "pte_entry"]

    @pytest.mark.parametrize("name", ["pgd_entry", "p4d_entry"])
    @pytest.mark.parametrize("action", [Action.CONTINUE, Action.AGAIN])
    def test_pgd_and_p4d_have_none(self, world, base, name, action):
        world.map(base, 0x5000)
        recorder = Recorder("pte_entry", **{name: self.setting(action)})
        walk_page_range_novma(world.tables, base, base + PAGE, recorder.ops)
        assert recorder.names == [name, "pte_entry"]


class TestWalkAttributes:
    """`walk` also has `ops`, `mm`, `vma`, `pgd`, `no_vma`, `private`, and our own `addr`, `installed`,
    `tables_allocated`: the progress, true at all times, also after an abort."""

    def test_in_a_vma(self, world, base):
        vma = world.vma(base, base + PAGE)
        world.map(base, 0x5000)
        walks = []
        ops = WalkOps(pte_entry=lambda entry, addr, next_, walk: walks.append(walk))
        private = object()
        walk_page_range(world.space, base, base + PAGE, ops, private)
        (walk,) = walks
        assert walk.ops is ops
        assert walk.private is private
        assert (walk.mm, walk.vma, walk.no_vma) == (world.space, vma, False)
        assert walk.pgd == world.tables.root
        assert walk.addr == base + PAGE

    def test_without_vmas(self, world, base):
        world.map(base, 0x5000)
        walks = []
        walk_page_range_novma(world.tables, base, base + PAGE, WalkOps(pte_entry=lambda *call: walks.append(call[3])))
        assert (walks[0].mm, walks[0].vma, walks[0].no_vma) == (None, None, True)

    def test_progress_is_true_at_each_callback(self, world, base):
        world.vma(base, base + 8 * M)
        world.map(base, 0x5000)
        seen = []

        def check(*call):
            walk, addr = call[-1], call[0] if isinstance(call[0], int) else call[1]
            assert walk.addr == addr
            seen.append(addr)

        ops = WalkOps(
            pgd_entry=check, p4d_entry=check, pud_entry=check, pmd_entry=check, pte_entry=check, pte_hole=check
        )
        walk_page_range(world.space, base, base + 12 * M, ops)
        assert len(seen) == 4 + 512 + 3 + 1

    def test_after_an_abort(self, world, base):
        world.vma(base, base + 2 * M)
        stop = base + 5 * PAGE

        def install(addr, next_, walk):
            assert walk.installed == (addr - base) // PAGE
            if addr == stop:
                raise TimeoutError
            return world.format.last.marked("guard")

        ops = WalkOps(install_pte=install)
        walk = Walk(world.tables, ops, mm=world.space)
        with pytest.raises(TimeoutError):
            walk_page_range_mm(world.space, base, base + 2 * M, ops, walk=walk)
        missing = 3 if world.format.levels[1].folded else 4
        assert (walk.addr, walk.installed, walk.tables_allocated) == (stop, 5, missing)


class TestEveryOneOptional:
    """Callbacks (`WalkOps`; every one optional)."""

    def test_none_at_all(self, world, base):
        world.vma(base, base + G)
        world.map(base, 2 * M, depth=3)
        before = world.leaves()
        assert walk_page_range(world.space, base, base + G, WalkOps()) == 0
        assert walk_page_range_novma(world.tables, base, base + G, WalkOps()) == 0
        assert world.leaves() == before

    def test_a_vma_in_no_address_space(self, base):
        from pagewalk.walk import walk_page_vma

        with pytest.raises(WalkError, match="EINVAL"):
            walk_page_vma(Vma(base, base + PAGE), WalkOps())
