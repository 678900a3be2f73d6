"""The model on tables of another shape: other sizes, other numbers of levels and entries, another write bit."""

import random

import numpy as np
import pytest

from pagewalk import abi
from pagewalk.errors import PagewalkError, SegmentationFault
from pagewalk.formats import Flag, Kind
from pagewalk.mm import Machine
from pagewalk.mm.geometry import Geometry
from tests.mm.chaos import CALLS, OFTEN, Draw, begin
from tests.mm.fuzz import Tank
from tests.mm.shapes import SHAPES

RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
POLICIES = ("always", "madvise", "never")


@pytest.fixture(params=SHAPES.values(), ids=list(SHAPES))
def form(request):
    return request.param


def new_tank(form, thp="madvise", blocks=12):
    block, page = Geometry(form).block_size, Geometry(form).page_size
    return Tank(Machine(blocks * block, form, thp=thp, swap=256 * page, hugetlb={block: 3}))


class TestGeometry:
    @pytest.mark.parametrize(
        ("name", "page", "block", "huge", "task_size", "mmap_base"),
        [
            ("x86-64", 1 << 12, 1 << 21, {1 << 21, 1 << 30}, (1 << 47) - 4096, 0x7FFF_F7FF_F000),
            ("x86-64-la57", 1 << 12, 1 << 21, {1 << 21, 1 << 30}, (1 << 56) - 4096, 0x7FFF_F7FF_F000),
            ("wide", 1 << 13, 1 << 19, {1 << 19, 1 << 25}, (1 << 42) - 8192, (1 << 42) - 8192 - (128 << 20)),
            ("short", 1 << 12, 1 << 21, {1 << 21, 1 << 30}, (1 << 38) - 4096, (1 << 38) - 4096 - (128 << 20)),
            ("riscv-sv39", 1 << 12, 1 << 21, {1 << 21, 1 << 30}, (1 << 38) - 4096, (1 << 38) - 4096 - (128 << 20)),
            ("arm64-16k", 1 << 14, 1 << 25, {1 << 25}, (1 << 47) - 16384, (1 << 47) - 16384 - (128 << 20)),
        ],
    )
    def test_sizes(self, name, page, block, huge, task_size, mmap_base):
        geometry = Geometry(SHAPES[name])
        assert (geometry.page_size, geometry.block_size, set(geometry.huge)) == (page, block, huge)
        assert (geometry.task_size, geometry.mmap_base) == (task_size, mmap_base)


class TestCalls:
    """One of everything."""

    def test_small_pages(self, form):
        tank = new_tank(form, "never")
        mm, page = tank.mm(), tank.machine.geometry.page_size
        at = mm.mmap(4 * page, RW)
        assert at + 4 * page == mm.mmap_base
        mm.write(at + page - 2, b"over")
        assert mm.read(at + page - 2, 4) == b"over"
        assert Flag.WRITE | Flag.DIRTY in mm.tables.translate(at).flags
        child = tank.fork(mm)
        assert Flag.WRITE not in mm.tables.translate(at).flags
        child.write(at, b"child")
        assert mm.read(at, 1) == bytes(1)
        mm.mprotect(at, page, abi.PROT_READ)
        with pytest.raises(SegmentationFault):
            mm.write(at, b"x")
        mm.madvise(at + 2 * page, page, abi.MADV_GUARD_INSTALL)
        with pytest.raises(SegmentationFault):
            mm.read(at + 2 * page, 1)
        assert [int(word >> np.uint64(58)) & 1 for word in mm.pagemap(at, at + 4 * page)] == [0, 0, 1, 0]
        tank.check()
        tank.empty()

    def test_huge_pages(self, form):
        tank = new_tank(form, "always")
        mm, geometry = tank.mm(), tank.machine.geometry
        block = geometry.block_size
        at = mm.mmap(2 * block, RW, FIXED, addr=64 * block)
        mm.write(at, b"huge")
        assert mm.tables.translate(at).page_size == block
        child = tank.fork(mm)
        assert mm.smaps()["AnonHugePages"] == child.smaps()["AnonHugePages"] == block
        child.mprotect(at + geometry.page_size, geometry.page_size, abi.PROT_NONE)
        assert child.tables.translate(at).page_size == geometry.page_size
        mm.register_wp(at, block)
        mm.writeprotect(at, block, protect=True)
        marks = any(
            Flag.UFFD_WP in field.flags
            for row in geometry.upper.level.rows
            if row.kind is Kind.PRESENT
            for field in row.fields
        )
        assert (Flag.UFFD_WP in mm.tables.translate(at).flags) == marks
        assert Flag.WRITE not in mm.tables.translate(at).flags
        tank.check()
        tank.empty()

    def test_large_hugetlb(self, form):
        sizes = sorted(Geometry(form).huge)
        machine = Machine(sizes[-1] * 2, form, hugetlb={sizes[-1]: 1})
        mm = machine.mm()
        flags = FIXED | abi.MAP_HUGETLB | sizes[-1].bit_length() - 1 << abi.MAP_HUGE_SHIFT
        at = mm.mmap(sizes[-1], RW, FIXED | abi.MAP_HUGETLB | flags, addr=4 * sizes[-1])
        mm.write(at + sizes[-1] - 4, b"last")
        assert mm.tables.translate(at).page_size == sizes[-1]
        mm.mprotect(at, sizes[-1], abi.PROT_READ)
        assert Flag.WRITE not in mm.tables.translate(at).flags
        assert mm.pagemap(at, at + machine.geometry.page_size)[0] >> np.uint64(63) == 1
        mm.exit()
        assert len(machine.hugetlb[sizes[-1]]) == 1

    def test_ram_of_whole_pages(self, form):
        page = Geometry(form).page_size
        with pytest.raises(ValueError, match=f"whole pages of {page:#x} bytes"):
            Machine(64 * page + page // 2, form)


class TestAnything:
    @pytest.mark.parametrize("seed", range(6))
    def test_the_books_are_right_afterwards(self, form, seed):
        tank = new_tank(form, POLICIES[seed % 3])
        begin(tank)
        draw = Draw(random.Random(seed), tank)
        for name in [*CALLS, *draw.rng.choices(OFTEN, k=80)]:
            try:
                CALLS[name](draw)
            except PagewalkError:
                continue
        tank.mms = [mm for mm in tank.mms if mm.alive]
        tank.check()
        tank.machine.recount()
        tank.check()
        tank.empty()

    @pytest.mark.parametrize("seed", range(100, 104))
    @pytest.mark.parametrize("name", ["x86-64-la57", "short"])
    def test_other_levels_show_the_same(self, name, seed):
        """Pages, blocks and entries are as large as on x86-64: all that a process sees is the same."""
        assert seen(SHAPES[name], seed) == seen(SHAPES["x86-64"], seed)


def placed(mm, addr):
    """A place that nobody chose lies below where the format has such places begin."""
    return addr if addr < mm.mmap_base // 2 else addr - mm.mmap_base


def seen(form, seed):
    """What each call of a sequence gives, and what is there afterwards."""
    tank = new_tank(form, POLICIES[seed % 3], blocks=40)  # enough: the tables differ in what they take
    begin(tank)
    draw, told = Draw(random.Random(seed), tank), []
    for name in draw.rng.choices([name for name in OFTEN if name not in ("maps", "usage")], k=80):
        try:
            result = CALLS[name](draw)
        except PagewalkError as error:
            told.append((name, type(error), getattr(error, "errno", None)))
        else:
            told.append((name, result if isinstance(result, int | bytes | dict) else None))
    for mm in tank.mms:
        if mm.alive:
            areas = [(placed(mm, vma.start), vma.size, vma.flags) for vma in mm.vmas]
            pages = [
                [
                    (start - vma.start, end - vma.start, found)
                    for start, end, found in mm.scan(vma.start, vma.end).tolist()
                ]
                for vma in mm.vmas
            ]
            told.append((areas, pages, mm.smaps()))
    tank.mms = [mm for mm in tank.mms if mm.alive]
    tank.empty()
    return told
