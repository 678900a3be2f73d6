"""Memory errors: frames that are lost for ever. What a kernel does is in ``conformance/test_poison.py``."""

import errno

import pytest

import pagewalk as pw
from pagewalk import abi
from pagewalk.conform.sides.books import left_over, wrong_books
from pagewalk.errors import BusError, OutOfFrames, SystemCallError, UnsupportedError
from pagewalk.mm.hardware.frames import Usage

PAGE, HUGE, MIB = 4096, 2 << 20, 1 << 20
RW = abi.PROT_READ | abi.PROT_WRITE
ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS


@pytest.fixture
def machine():
    made = pw.Machine(64 * MIB, thp="madvise", swap=4 * MIB, hugetlb={HUGE: 2})
    yield made
    assert wrong_books(made) == ""


@pytest.fixture
def mm(machine):
    return machine.mm()


def pages(mm, count, data=b"x"):
    start = mm.mmap(count * PAGE, RW, ANON)
    for page in range(count):
        mm.write(start + page * PAGE, data)
    return start


def broken(mm, addr, length=PAGE):
    with pytest.raises(BusError) as caught:
        mm.madvise(addr, length, abi.MADV_HWPOISON)
    return caught.value


def test_the_signal_says_where_and_why(mm):
    start = pages(mm, 3)
    error = broken(mm, start + PAGE, 2 * PAGE)
    assert (error.si_addr, error.code) == (start + PAGE, abi.BUS_MCEERR_AR)
    assert error.__cause__ is None
    with pytest.raises(BusError, match="poisoned") as caught:
        mm.read(start + PAGE + 100, 8)
    assert (caught.value.vaddr, caught.value.code) == (start + PAGE + 100, abi.BUS_MCEERR_AR)


def test_the_call_that_failed_too_is_the_cause(mm):
    error = broken(mm, pages(mm, 1), 2 * PAGE)
    assert isinstance(error.__cause__, SystemCallError)
    assert error.__cause__.errno == errno.EFAULT


def test_frames_are_lost_for_ever(machine):
    whole = machine.usage()["free"]
    mm = machine.mm()
    start, free = pages(mm, 8), machine.usage()["free"]
    broken(mm, start, 3 * PAGE)
    mm.madvise(start + 3 * PAGE, 2 * PAGE, abi.MADV_SOFT_OFFLINE)
    assert machine.usage()["poisoned"] == 5 * PAGE
    assert machine.usage()["free"] == free - 2 * PAGE
    mm.exit()
    assert left_over(machine) == ""
    assert machine.usage()["free"] == whole - 5 * PAGE


def test_nobody_is_given_a_lost_frame(machine, mm):
    start = pages(mm, 4)
    lost = [mm.touch(start + page * PAGE, 1, "read")[0] for page in range(4)]
    broken(mm, start, 2 * PAGE)
    mm.madvise(start + 2 * PAGE, 2 * PAGE, abi.MADV_SOFT_OFFLINE)
    rest = mm.mmap(64 * MIB, RW, ANON)
    with pytest.raises(OutOfFrames):
        mm.touch(rest, 64 * MIB)
    assert machine.frames.poisoned(lost).all()
    assert not set(lost) & {paddr for paddr in mm.pagemap(rest, rest + 64 * MIB).tolist() if paddr}
    assert machine.usage()["free"] == 0


def test_books_are_counted_again_with_them(machine, mm):
    start = pages(mm, 2)
    file = machine.file("f", contents=b"y" * PAGE)
    shared = mm.mmap(PAGE, RW, abi.MAP_SHARED, file=file)
    broken(mm, start)
    broken(mm, shared)
    assert [machine.frames.count(usage) for usage in (Usage.POISONED, Usage.POISONED_FILE)] == [1, 1]
    machine.recount()
    assert wrong_books(machine) == ""
    machine.truncate(file, 0)
    assert machine.frames.count(Usage.POISONED_FILE) == 1


def test_a_file_is_neither_read_nor_written_there(machine, mm):
    file = machine.file("f", contents=b"y" * 3 * PAGE)
    start = mm.mmap(3 * PAGE, RW, abi.MAP_SHARED, file=file)
    broken(mm, start + PAGE)
    assert file.read(0, 3 * PAGE) == b"y" * PAGE
    for access in (lambda: file.read(PAGE, 1), lambda: file.write(PAGE + 5, b"z")):
        with pytest.raises(SystemCallError) as caught:
            access()
        assert caught.value.errno == errno.EIO
    file.write(2 * PAGE, b"z")
    assert file.read(2 * PAGE, 2) == b"zy"


def test_without_the_right(mm):
    start = pages(mm, 1)
    mm.limits.sys_admin = False
    for advice in (abi.MADV_HWPOISON, abi.MADV_SOFT_OFFLINE):
        with pytest.raises(SystemCallError) as caught:
            mm.madvise(start, PAGE, advice)
        assert caught.value.errno == errno.EPERM
    assert mm.fork().limits.sys_admin is False


def test_a_kernel_built_without(mm):
    """CONFIG_MEMORY_FAILURE: the advice is unknown then."""
    plain = pw.Machine(16 * MIB, pw.find_format("x86-64", os="linux,memory_failure=no")).mm()
    with pytest.raises(SystemCallError) as caught:
        plain.madvise(pages(plain, 1), PAGE, abi.MADV_HWPOISON)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("advice", [abi.MADV_HWPOISON, abi.MADV_SOFT_OFFLINE])
class TestRefusedByName:
    def test_a_huge_page_of_several_processes(self, mm, advice):
        start = mm.mmap(2 * HUGE, RW, ANON) // HUGE * HUGE + HUGE
        mm.madvise(start, HUGE, abi.MADV_HUGEPAGE)
        mm.write(start, b"x")
        child = mm.fork()
        with pytest.raises(UnsupportedError, match="has others too"):
            mm.madvise(start, PAGE, advice)
        child.exit()
        assert mm.read(start, 1) == b"x"

    def test_what_is_in_the_swap_cache(self, mm, advice):
        start = pages(mm, 1)
        mm.madvise(start, PAGE, abi.MADV_PAGEOUT)
        with pytest.raises(UnsupportedError, match="swap cache"):
            mm.madvise(start, PAGE, advice)
        assert mm.read(start, 1) == b"x"

    def test_a_pool_without_another_page(self, mm, advice):
        """Its owner has let go of the page, and would be owed it again."""
        start = mm.mmap(2 * HUGE, RW, ANON | abi.MAP_HUGETLB)
        mm.touch(start, 2 * HUGE)
        child = mm.fork()
        mm.madvise(start, HUGE, abi.MADV_DONTNEED)
        with pytest.raises(UnsupportedError, match="pool"):
            child.madvise(start, PAGE, advice)


def test_more_is_refused_by_name(mm):
    start = mm.mmap(2 * HUGE, RW, ANON) // HUGE * HUGE + HUGE
    mm.madvise(start, HUGE, abi.MADV_HUGEPAGE)
    mm.read(start, 1)
    with pytest.raises(UnsupportedError, match="huge zero page"):
        mm.madvise(start, PAGE, abi.MADV_HWPOISON)
    small = pages(mm, 1)
    broken(mm, small)
    mm.register_wp(small, PAGE)
    with pytest.raises(UnsupportedError, match="poisoned page with userfaultfd"):
        mm.writeprotect(small, PAGE, protect=True)


def test_a_walk_sees_it(mm):
    start = pages(mm, 2)
    paddr = int(mm.touch(start, 1, "read")[0])
    broken(mm, start)
    found = mm.tables.last_at(start)
    assert (found.kind, found.level.frame(found.value)) == (pw.Kind.HWPOISON, paddr)
