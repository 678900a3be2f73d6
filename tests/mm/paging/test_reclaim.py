"""Swap: what MADV_PAGEOUT writes out is in the tables as swap entries, and comes back."""

import pytest

from pagewalk import abi
from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.hardware.swap import SwapDevice
from pagewalk.mm.machine import Machine
from tests.mm.sizes import BLOCK, PAGE

MIB = 1 << 20
RW = abi.PROT_READ | abi.PROT_WRITE


def entries(mm, at, pages):
    return [mm.tables.last_at(at + page * PAGE) for page in range(pages)]


def kinds(mm, at, pages):
    return [entry.kind for entry in entries(mm, at, pages)]


@pytest.fixture
def tank(new_tank):
    return new_tank(swap=4 * MIB)


@pytest.fixture
def swapped(tank):
    """A process with four pages, all swapped out."""
    mm = tank.mm()
    at = mm.mmap(4 * PAGE, RW)
    mm.write(at, b"".join(bytes([65 + page]) * PAGE for page in range(4)))
    mm.madvise(at, 4 * PAGE, abi.MADV_PAGEOUT)
    return mm, at


class TestOut:
    def test_swap_entries(self, tank, swapped):
        mm, at = swapped
        assert kinds(mm, at, 4) == [Kind.SWAP] * 4
        slots = [mm.format.last.swap_slot(entry.value) for entry in entries(mm, at, 4)]
        assert {type_ for type_, _ in slots} == {0}
        assert len({offset for _, offset in slots}) == 4
        assert 0 not in {offset for _, offset in slots}
        assert tank.machine.usage()["anon"] == 0
        assert tank.machine.swap.used == 4

    def test_told_by_pagemap_and_smaps(self, swapped):
        mm, at = swapped
        assert all(int(word) >> 62 & 3 == 1 for word in mm.pagemap(at, at + 4 * PAGE))
        assert mm.smaps()["Swap"] == 4 * PAGE

    def test_never_without_swap(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(PAGE, RW)
        mm.write(at, b"stays")
        mm.madvise(at, PAGE, abi.MADV_PAGEOUT)
        assert kinds(mm, at, 1) == [Kind.PRESENT]

    def test_what_does_not_fit_stays(self, new_tank):
        tank = new_tank(swap=3 * PAGE)
        mm = tank.mm()
        at = mm.mmap(4 * PAGE, RW)
        mm.touch(at, 4 * PAGE)
        mm.madvise(at, 4 * PAGE, abi.MADV_PAGEOUT)
        assert kinds(mm, at, 4) == [Kind.SWAP] * 2 + [Kind.PRESENT] * 2

    def test_shared_pages_stay(self, tank):
        mm = tank.mm()
        at = mm.mmap(PAGE, RW)
        mm.write(at, b"both")
        tank.fork(mm)
        mm.madvise(at, PAGE, abi.MADV_PAGEOUT)
        assert kinds(mm, at, 1) == [Kind.PRESENT]

    def test_guards_stay(self, tank):
        mm = tank.mm()
        at = mm.mmap(3 * PAGE, RW)
        mm.touch(at, 3 * PAGE)
        mm.madvise(at + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        mm.madvise(at, 3 * PAGE, abi.MADV_PAGEOUT)
        assert kinds(mm, at, 3) == [Kind.SWAP, Kind.GUARD, Kind.SWAP]

    def test_a_huge_page_goes_in_pieces(self, new_tank):
        tank = new_tank(swap=4 * MIB, thp="always")
        mm = tank.mm()
        at = mm.mmap(BLOCK, RW, addr=64 * BLOCK)
        mm.write(at + 7 * PAGE, b"s" * 8 * PAGE)
        mm.madvise(at, BLOCK, abi.MADV_PAGEOUT)
        zeros = Kind.PRESENT  # a page of zeros gives way to the zero page when the huge page is split (since 6.12)
        assert kinds(mm, at, 512) == [zeros] * 7 + [Kind.SWAP] * 8 + [zeros] * 497
        assert tank.machine.usage()["anon"] == 0
        assert mm.read(at + 6 * PAGE, 2 * PAGE) == bytes(PAGE) + b"s" * PAGE

    def test_lazily_free_pages_are_dropped_instead(self, tank):
        mm = tank.mm()
        at = mm.mmap(2 * PAGE, RW)
        mm.write(at, b"a" * 2 * PAGE)
        mm.madvise(at, 2 * PAGE, abi.MADV_FREE)
        mm.write(at + PAGE, b"b")
        mm.madvise(at, 2 * PAGE, abi.MADV_PAGEOUT)
        assert kinds(mm, at, 2) == [Kind.NONE, Kind.PRESENT]  # what was written is no longer lazily free
        mm.madvise(at, 2 * PAGE, abi.MADV_PAGEOUT)
        assert kinds(mm, at, 2) == [Kind.NONE, Kind.SWAP]
        assert mm.read(at, 1) + mm.read(at + PAGE, 2) == b"\0ba"


class TestIn:
    def test_contents_come_back(self, tank, swapped):
        mm, at = swapped
        assert mm.read(at + PAGE, PAGE) == b"B" * PAGE
        assert kinds(mm, at, 4) == [Kind.SWAP, Kind.PRESENT, Kind.SWAP, Kind.SWAP]
        assert tank.machine.swap.used == 4  # what was only read need not be written again
        mm.write(at, b"a")
        assert tank.machine.swap.used == 3

    def test_writable_at_once_if_nobody_else_has_it(self, swapped):
        mm, at = swapped
        mm.read(at, 1)
        assert Flag.WRITE in mm.tables.translate(at).flags

    def test_a_write_keeps_the_rest_of_the_page(self, swapped):
        mm, at = swapped
        mm.write(at + 1, b"x")
        assert mm.read(at, 3) == b"AxA"

    def test_no_frame(self, new_tank):
        tank = new_tank(16 * PAGE, swap=MIB)
        mm = tank.mm()
        at = mm.mmap(64 * PAGE, RW)
        mm.write(at, b"kept")
        mm.madvise(at, PAGE, abi.MADV_PAGEOUT)
        with pytest.raises(OutOfFrames):
            mm.touch(at + PAGE, 63 * PAGE)
        with pytest.raises(OutOfFrames):
            mm.read(at, 4)
        mm.madvise(at + PAGE, PAGE, abi.MADV_DONTNEED)
        assert mm.read(at, 4) == b"kept"


class TestShared:
    def test_by_a_fork(self, tank, swapped):
        mm, at = swapped
        child = tank.fork(mm)
        assert [entry.value for entry in entries(child, at, 4)] == [entry.value for entry in entries(mm, at, 4)]
        assert tank.machine.swap.used == 4
        child.write(at, b"child")
        assert (mm.read(at, 5), child.read(at, 6)) == (b"AAAAA", b"childA")

    def test_not_writable_while_shared(self, tank, swapped):
        mm, at = swapped
        child = tank.fork(mm)
        child.read(at, 1)
        assert Flag.WRITE not in child.tables.translate(at).flags
        mm.read(at, 1)
        assert Flag.WRITE not in mm.tables.translate(at).flags
        assert mm.tables.translate(at).paddr == child.tables.translate(at).paddr  # found in the swap cache
        mm.write(at, b"mine")
        assert child.read(at, 4) == b"AAAA"

    @pytest.mark.parametrize("how", ["munmap", "dontneed", "free", "exit"])
    def test_a_slot_goes_with_its_last_user(self, tank, swapped, how):
        mm, at = swapped
        child = tank.fork(mm)
        tank.exit(mm)
        assert tank.machine.swap.used == 4
        match how:
            case "munmap":
                child.munmap(at, 4 * PAGE)
            case "dontneed":
                child.madvise(at, 4 * PAGE, abi.MADV_DONTNEED)
            case "free":
                child.madvise(at, 4 * PAGE, abi.MADV_FREE)
            case "exit":
                tank.exit(child)
        assert tank.machine.swap.used == 0

    def test_moved_by_mremap(self, tank, swapped):
        mm, at = swapped
        new = mm.mremap(at, 4 * PAGE, 4 * PAGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, at - 64 * PAGE)
        assert kinds(mm, new, 4) == [Kind.SWAP] * 4
        assert mm.read(new + 3 * PAGE, 2) == b"DD"


class TestDevice:
    def test_slot_0_is_the_header(self):
        frames = Machine(MIB).frames
        device = SwapDevice(3 * PAGE, frames, most=8)
        pages = frames.take_many(3, Usage.ANON).tolist()
        assert {device.enter(pages[0]), device.enter(pages[1])} == {1, 2}
        with pytest.raises(OutOfFrames, match="swap is full: 2 slots"):
            device.enter(pages[2])


class TestCache:
    """What was written stays in memory as long as nobody needs it; zeros are not written, and do not stay."""

    def test_a_page_of_zeros_does_not_stay(self, tank):
        mm = tank.mm()
        at = mm.mmap(2 * PAGE, RW)
        mm.write(at, bytes(PAGE) + b"x")
        mm.madvise(at, 2 * PAGE, abi.MADV_PAGEOUT)
        assert mm.mincore(at, 2 * PAGE) == b"\0\1"

    def test_clean_again_it_does_not_stay(self, swapped):
        mm, at = swapped
        mm.read(at, 1)
        mm.madvise(at, PAGE, abi.MADV_PAGEOUT)
        assert mm.mincore(at, 2 * PAGE) == b"\0\1"
        mm.madvise(at, PAGE, abi.MADV_WILLNEED)
        assert mm.mincore(at, PAGE) == b"\1"

    def test_memory_that_is_short_takes_it(self, new_tank):
        tank = new_tank(16 * PAGE, swap=MIB)
        mm = tank.mm()
        at = mm.mmap(32 * PAGE, RW)
        for page in range(32):
            mm.write(at + page * PAGE, b"%2d" % page)
            mm.madvise(at + page * PAGE, PAGE, abi.MADV_PAGEOUT)
        assert b"".join(mm.read(at + page * PAGE, 2) for page in range(8)) == b" 0 1 2 3 4 5 6 7"


class TestFiles:
    """Shared memory goes to swap page by page; the file remembers where."""

    def test_out_and_in(self, tank):
        mm = tank.mm()
        file = tank.file("/memfd:a", contents=b"a" * PAGE + b"b" * PAGE)
        at = mm.mmap(2 * PAGE, RW, abi.MAP_SHARED, file=file)
        mm.touch(at, 2 * PAGE)
        mm.madvise(at, 2 * PAGE, abi.MADV_PAGEOUT)
        assert (kinds(mm, at, 2), len(file.swapped)) == ([Kind.NONE] * 2, 2)
        assert mm.smaps()["Swap"] == 2 * PAGE
        assert (file.read(0, 1), mm.read(at + PAGE, 1), file.swapped) == (b"a", b"b", {})
        assert tank.machine.swap.used == 0

    @pytest.mark.parametrize("how", ["punch_hole", "truncate"])
    def test_gone_with_a_hole(self, tank, how):
        mm = tank.mm()
        file = tank.file("/memfd:a", contents=b"a" * 2 * PAGE)
        at = mm.mmap(2 * PAGE, RW, abi.MAP_SHARED, file=file)
        mm.touch(at, 2 * PAGE)
        mm.madvise(at, 2 * PAGE, abi.MADV_PAGEOUT)
        getattr(tank.machine, how)(file, *((0, 2 * PAGE) if how == "punch_hole" else (0,)))
        assert tank.machine.swap.used == 0


class TestOff:
    def test_all_comes_back(self, tank, swapped):
        mm, at = swapped
        file = tank.file("/memfd:a", contents=b"f" * PAGE)
        there = mm.mmap(PAGE, RW, abi.MAP_SHARED, file=file)
        mm.touch(there, PAGE)
        mm.madvise(there, PAGE, abi.MADV_PAGEOUT)
        child = tank.fork(mm)
        tank.machine.swapoff()
        assert kinds(mm, at, 4) == kinds(child, at, 4) == [Kind.PRESENT] * 4
        assert (mm.read(at + PAGE, 1), child.read(at + PAGE, 1), file.read(0, 1)) == (b"B", b"B", b"f")
        assert tank.machine.swap.slots == 0
        with pytest.raises(SystemCallError, match="no swap"):
            tank.machine.swapoff()
        tank.machine.swapon(MIB)
        with pytest.raises(SystemCallError, match="has swap"):
            tank.machine.swapon(MIB)
        mm.write(at, b"mine")
        mm.madvise(at, PAGE, abi.MADV_PAGEOUT)
        assert tank.machine.swap.used == 1


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_a_lazily_free_huge_page_goes_or_stays(whole, written):
    """As a whole in Linux since 6.11; a kernel that looks at small pages leaves a table there."""
    machine = Machine(64 << 20)
    machine.reclaims_whole = whole
    mm = machine.mm()
    at = mm.mmap(2 * BLOCK, RW) // BLOCK * BLOCK + BLOCK
    mm.madvise(at, BLOCK, abi.MADV_HUGEPAGE)
    mm.write(at, b"x")
    mm.madvise(at, BLOCK, abi.MADV_FREE)
    if written:
        mm.write(at, b"y")
    mm.madvise(at, BLOCK, abi.MADV_PAGEOUT)
    pmd = mm.tables.upper_at(at)
    assert (pmd.is_leaf, pmd.is_none, pmd.is_table) == (whole and written, whole and not written, not whole)
    assert mm.read(at, 1) == (b"y" if written else b"\0")
    mm.exit()
    assert machine.usage()["anon"] == machine.usage()["table"] == 0
