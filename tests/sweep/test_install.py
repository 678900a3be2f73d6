"""Installing in bulk leaves what the scalar walk leaves: entries, tables, frames, progress, and after an abort too."""

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.formats import Kind
from pagewalk.sweep import Installation, install
from pagewalk.walk.ranges import walk_page_range_mm, walk_page_range_novma_mm
from tests.property.entries import GUARD
from tests.property.worlds import TABLES, ranges, worlds

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no update_mmu_cache hook runs:RuntimeWarning"),
    pytest.mark.usefixtures("engine"),
]

WHERE = ["raw tables", "address space"]
PAGES = 1100


class Refusal(Exception):
    """What a callback of ours raises."""


class Watched(pw.AddressSpace):
    """An address space that notes which pages its hook is told of."""

    def __init__(self, tables, start, end):
        super().__init__(tables, [pw.Vma(start, end)])
        self.told = []

    def update_mmu_cache(self, vma, addr, entry):
        self.told.append((addr, entry.value))


class Remote:
    """A memory that cannot be used in place."""

    def __init__(self, inner):
        self.inner = inner

    def read(self, paddr, size):
        return self.inner.read(paddr, size)

    def write(self, paddr, data):
        self.inner.write(paddr, data)


def value_of(addr):
    """What is installed at an address; None: nothing."""
    page = addr >> 12
    return None if page % 7 == 3 else GUARD if page % 2 else (page & 0xFFFF) << 12 | 0x67


class Run:
    """One installation into a world, by either engine."""

    def __init__(self, world, where, start, end, fail_at=(), remote=False):
        self.world, self.start, self.end = world, start, end
        self.tables, self.allocator = world.tables(fail_at)
        if remote:
            memory = Remote(self.tables.memory)
            self.tables = pw.PageTables(memory, world.root, self.tables.format, allocator=self.allocator)
        self.space = Watched(self.tables, start, end) if where == "address space" else None
        self.progress = Installation()
        self.error = None
        self.obstacle = None

    def scalar(self, decide, passing=None):
        """The walk's own installation."""

        def install_pte(addr, next_, walk):
            value = decide(addr)
            if isinstance(value, Exception):
                raise value
            return pw.SKIP if value is None else value

        def stop(entry, addr, next_, walk):
            if entry.is_leaf if entry.level.depth < 4 else True:
                if entry.kind in passing:
                    return 0
                self.obstacle = addr
                return 1
            return 0

        callbacks = {} if passing is None else {"pud_entry": stop, "pmd_entry": stop, "pte_entry": stop}
        ops = pw.WalkOps(install_pte=install_pte, **callbacks)
        walk = pw.Walk(self.tables, ops, mm=self.space)
        try:
            if self.space is None:
                walk_page_range_novma_mm(self.tables, self.start, self.end, ops, walk=walk)
            else:
                walk_page_range_mm(self.space, self.start, self.end, ops, walk=walk)
        except Exception as error:
            self.error = error
        self.progress = Installation(walk.addr, walk.installed, walk.tables_allocated)
        return self.state()

    def bulk(self, value, **options):
        """The sweep's."""
        where = self.tables if self.space is None else self.space
        try:
            self.obstacle = install(where, self.start, self.end, value, progress=self.progress, **options)
        except Exception as error:
            self.error = error
        return self.state()

    def state(self):
        """All there is to compare."""
        error = self.error
        told = None if self.space is None else self.space.told
        where = (error.vaddr, error.depth) if isinstance(error, pw.OutOfFrames) else None
        return {
            "memory": self.world.snapshot(),
            "frames": self.allocator.outstanding,
            "progress": self.progress,
            "error": (type(error), where) if error else None,
            "told": told,
            "obstacle": self.obstacle,
        }


def asked(start, end, decide):
    """The same decisions as an array and a mask."""
    values = [decide(addr) for addr in range(start, end, 4096)]
    return np.array([value or 0 for value in values], np.uint64), np.array([value is None for value in values])


def callback(decide):
    """The same decisions as a callback."""

    def answer(addrs):
        values = []
        for addr in addrs.tolist():
            value = decide(addr)
            if isinstance(value, Exception):
                if not values:
                    raise value
                break
            values.append(value)
        skip = [value is None for value in values]
        rest = len(addrs) - len(values)
        return np.array([value or 0 for value in values] + [0] * rest, np.uint64), np.array(skip + [False] * rest)

    return answer


@st.composite
def cases(draw, pages=PAGES):
    where = draw(st.sampled_from(WHERE))
    world = draw(worlds(absent=where == "raw tables", pages=5))
    return world, where, *draw(ranges(world, pages << 12))


def compare(world, where, start, end, decide, value, *, fail_at=(), remote=False, passing=None, **options):
    """Run both from the same contents, and compare."""
    before = world.snapshot()
    scalar = Run(world, where, start, end, fail_at).scalar(decide, passing)
    world.restore(before)
    bulk = Run(world, where, start, end, fail_at, remote).bulk(value, passing=passing, **options)
    world.restore(before)
    assert bulk == scalar
    return scalar


class TestSameAsTheWalk:
    """Rule: "abort leaves exactly the state the scalar walk would leave"; and so does what goes well."""

    @given(cases(), st.booleans())
    def test_a_constant(self, case, remote):
        compare(*case, lambda addr: GUARD, GUARD, remote=remote)

    @given(cases(), st.booleans())
    def test_an_array(self, case, remote):
        values, skip = asked(case[2], case[3], value_of)
        compare(*case, value_of, values, skip=skip, remote=remote)

    @given(cases(), st.booleans())
    def test_a_callback(self, case, remote):
        compare(*case, value_of, callback(value_of), remote=remote)

    @given(cases(), st.sampled_from([set(), {Kind.GUARD}, {Kind.GUARD, Kind.SWAP, Kind.UFFD_WP}]))
    def test_what_stands_in_the_way(self, case, passing):
        if case[1] == "address space":
            compare(*case, lambda addr: GUARD, GUARD, passing=passing)


class TestNoFrame:
    """Rule: "a table cannot be allocated (ENOMEM), the walk ends there. What was installed stays"."""

    @given(cases(), st.booleans())
    def test_at_every_allocation(self, case, remote):
        world, where, start, end = case
        before = world.snapshot()
        first = Run(world, where, start, end)
        first.scalar(value_of)
        world.restore(before)
        values, skip = asked(start, end, value_of)
        for fails in range(1, first.allocator.calls + 1):
            state = compare(*case, value_of, values, skip=skip, fail_at=(fails,), remote=remote)
            assert state["error"][0] is pw.OutOfFrames
            compare(*case, value_of, callback(value_of), fail_at=(fails,), remote=remote)


class TestRefusal:
    """Rule: "when ``install_pte`` fails ... nothing is half-written"; at every class of position."""

    @given(cases(), st.data())
    def test_an_exception_or_a_bad_value(self, case, data):
        _, _, start, end = case
        pages = (end - start) >> 12
        edges = {0, 1, 2, pages - 1, pages // 2, *((-start >> 12) % 512 + at for at in (-1, 0, 1, 511, 512))}
        at = start + (data.draw(st.sampled_from(sorted(edge for edge in edges if 0 <= edge < pages))) << 12)

        def decide(addr):
            return 0 if addr == at else value_of(addr)

        def bad(addrs):
            values, skip = callback(value_of)(addrs)
            values[addrs == np.uint64(at)] = 0
            skip[addrs == np.uint64(at)] = False
            return values, skip

        compare(*case, decide, bad)

    @given(cases(pages=600))
    def test_an_exception_at_the_first_page(self, case):
        compare(*case, lambda addr: Refusal("no"), callback(lambda addr: Refusal("no")))

    def test_values_that_are_none(self):
        tables = pw.PageTables(pw.Ram(1 << 20), 0, allocator=pw.RangeAllocator((4096, 1 << 20)))
        for value, error in [(0, ValueError), (0x60, ValueError), (1 << 64, ValueError), ("seven", TypeError)]:
            with pytest.raises(error):
                install(tables, 0, 4096, value)
        with pytest.raises(pw.WalkError) as caught:
            install(tables, 0, 4096, -errno.EAGAIN)
        assert caught.value.errno == errno.EAGAIN
        with pytest.raises(TypeError, match="2 pages need 2 values"):
            install(tables, 0, 8192, np.ones(3, np.uint64))
        assert tables.memory.read(0, 4096) == bytes(4096)


class TestManyTables:
    """Hundreds of tables at once, from an allocator that gives them so."""

    class Many:
        def __init__(self, inner, most):
            self.inner, self.most, self.asked = inner, most, []

        def allocate(self):
            return self.inner.allocate()

        def free(self, paddr):
            self.inner.free(paddr)

        def allocate_many(self, count):
            self.asked.append(count)
            if count > self.most:
                raise pw.OutOfFrames("not so many")
            return np.array([self.inner.allocate() for _ in range(count)], np.uint64)

    @pytest.mark.parametrize("most", [0, 1000])
    def test_two_gib(self, most):
        ram, size = pw.Ram(8 << 20), 2 << 30
        frames = pw.CountingAllocator(pw.RangeAllocator((4096, 8 << 20)))
        many = self.Many(frames, most)
        tables = pw.PageTables(ram, 0, allocator=many)
        progress = Installation()
        assert install(tables, 4096, size, GUARD, progress=progress) is None
        assert progress == Installation(size, (size >> 12) - 1, 1 + 2 + 1024)
        assert many.asked == [512, 512]
        assert len(frames.outstanding) == 1027
        (row,) = pw.mappings(tables)
        assert (row["vaddr"], row["size"], row["kind"]) == (4096, size - 4096, Kind.GUARD)
        assert install(tables, 4096, size, GUARD, passing={Kind.GUARD}) is None
        assert install(tables, 4096, size, GUARD, passing=set()) == 4096

    def test_runs_are_told_where_runs_are_taken(self):
        told = []

        class Space(pw.AddressSpace):
            def update_mmu_cache_range(self, vma, start, end):
                told.append((start, end))

        tables = pw.PageTables(pw.Ram(1 << 20), 0, allocator=pw.RangeAllocator((4096, 1 << 20)))
        space = Space(tables, [pw.Vma(0, 8 << 20)])
        skip = np.zeros(1024, np.bool_)
        skip[5:7] = True
        install(space, 0, 4 << 20, GUARD, skip=skip)
        assert told == [(0, 5 << 12), (7 << 12, 4 << 20)]


class TestRanges:
    """Ranges and address spaces as the walks take them."""

    def test_hugetlb_is_refused(self):
        tables = pw.PageTables(pw.Ram(1 << 20), 0, allocator=pw.RangeAllocator((4096, 1 << 20)))
        space = pw.AddressSpace(tables, [pw.Vma(0, 2 << 20, pw.VmaFlags.HUGETLB)])
        with pytest.raises(pw.WalkError) as caught:
            install(space, 0, 4096, GUARD)
        assert caught.value.errno == errno.EINVAL

    @pytest.mark.parametrize(("start", "end"), [(0, 0), (1, 4096), (1 << 46, 1 << 48)])
    def test_no_range(self, start, end):
        tables = pw.PageTables(pw.Ram(1 << 20), 0)
        with pytest.raises(pw.WalkError) as caught:
            install(tables, start, end, GUARD)
        assert caught.value.errno == errno.EINVAL

    def test_gaps_and_pfnmap_are_passed_over(self):
        tables = pw.PageTables(pw.Ram(1 << 20), 0, allocator=pw.RangeAllocator((4096, 1 << 20)))
        areas = [pw.Vma(0, 4096), pw.Vma(8192, 12288, pw.VmaFlags.PFNMAP), pw.Vma(12288, 16384)]
        install(pw.AddressSpace(tables, areas), 0, 1 << 20, GUARD)
        assert pw.mappings(tables)["vaddr"].tolist() == [0, 12288]

    def test_the_spare_frames_suffice(self):
        assert TABLES >> 12 >= 8
