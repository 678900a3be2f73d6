"""No frame at any point: the system call ends as Linux's does, what it had done stays, nothing is lost."""

import errno

import pytest

from pagewalk import abi
from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.formats import Kind
from tests.mm.fuzz import counted, failing
from tests.mm.sizes import BLOCK, PAGE

RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
START = 64 * BLOCK
MANY = 40


@pytest.fixture
def tank(new_tank):
    return new_tank(thp="madvise")


@pytest.fixture
def mm(tank):
    """Pages on both sides of a table's border, one swapped for a guard, and a huge page beyond."""
    mm = tank.mm()
    mm.mmap(4 * BLOCK, RW, FIXED, addr=START)
    mm.write(START + BLOCK - 2 * PAGE, b"o" * 4 * PAGE)
    mm.madvise(START + BLOCK, PAGE, abi.MADV_GUARD_INSTALL)
    mm.madvise(START + 3 * BLOCK, BLOCK, abi.MADV_HUGEPAGE)
    mm.write(START + 3 * BLOCK, b"huge")
    return mm


def until_it_works(tank, call):
    """Let the first allocation fail, then the second, ... The errors, in order; the books balance after each."""
    errors = []
    for number in range(1, MANY):
        with failing(tank.machine, counted([number])):
            try:
                call()
            except (OutOfFrames, SystemCallError) as error:
                errors.append(error)
            else:
                return errors
        tank.check()
    raise AssertionError(f"it still fails with {MANY} allocations done")


def intact(mm):
    """The fixture's memory reads as it was written."""
    assert mm.read(START + BLOCK - 2 * PAGE, 2 * PAGE) == b"o" * 2 * PAGE
    assert mm.read(START + BLOCK + PAGE, PAGE) == b"o" * PAGE
    assert mm.tables.last_at(START + BLOCK).kind is Kind.GUARD
    assert mm.read(START + 3 * BLOCK, 4) == b"huge"


def test_fork(tank, mm):
    children = []
    errors = until_it_works(tank, lambda: children.append(tank.fork(mm)))
    assert {error.errno for error in errors} == {errno.ENOMEM}
    assert len(errors) >= 4
    intact(mm)
    intact(children[0])


@pytest.mark.parametrize("part", [0, 3])
def test_mremap(tank, mm, part):
    """Off the grid, so that entries are moved a table at a time, and the huge page is split."""
    source, target = START + part * BLOCK, START + 64 * BLOCK + PAGE
    length, flags = (1 if part else 3) * BLOCK, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    contents = mm.kernel_read(source, BLOCK)

    def move():
        try:
            mm.mremap(source, length, length, flags, target)
        except SystemCallError:
            assert mm.kernel_read(source, BLOCK) == contents
            intact(mm)
            raise

    errors = until_it_works(tank, move)
    assert {error.errno for error in errors} == {errno.ENOMEM}
    assert mm.kernel_read(target, BLOCK) == contents
    assert part or mm.tables.last_at(target + BLOCK).kind is Kind.GUARD


def test_guard_install(tank, mm):
    errors = until_it_works(tank, lambda: mm.madvise(START, 4 * BLOCK, abi.MADV_GUARD_INSTALL))
    assert {error.errno for error in errors} == {errno.ENOMEM}
    assert mm.smaps()["Guard"] == 4 * BLOCK
    assert tank.machine.usage()["anon"] == 0


def test_guards_installed_before_the_failure_stay(tank, mm):
    with failing(tank.machine, counted([1])), pytest.raises(SystemCallError):
        mm.madvise(START + BLOCK - 4 * PAGE, BLOCK + 8 * PAGE, abi.MADV_GUARD_INSTALL)
    assert mm.smaps()["Guard"] == BLOCK + 4 * PAGE


def test_populate(tank):
    """MAP_POPULATE is best effort: the mapping stands, what could not be had is not there."""
    mm = tank.mm()
    with failing(tank.machine, counted([3])):
        at = mm.mmap(4 * PAGE, RW, FIXED | abi.MAP_POPULATE, addr=START)
    tank.check()
    assert len(mm.vmas) == 1
    mm.write(at, b"x" * 4 * PAGE)


def test_a_write_across_tables(tank):
    mm = tank.mm()
    at = mm.mmap(2 * BLOCK, RW, FIXED, addr=START) + BLOCK - 2 * PAGE
    errors = until_it_works(tank, lambda: mm.write(at, b"w" * 4 * PAGE))
    assert len(errors) >= 4  # the first time for each of three tables, then for pages
    assert mm.read(at, 4 * PAGE) == b"w" * 4 * PAGE


def test_collapse(tank):
    mm = tank.mm()
    mm.mmap(BLOCK, RW, FIXED, addr=START)
    mm.write(START, b"small")
    with failing(tank.machine, lambda: True), pytest.raises(SystemCallError):
        mm.madvise(START, BLOCK, abi.MADV_COLLAPSE)
    tank.check()
    assert mm.tables.translate(START).page_size == PAGE
    assert mm.read(START, 5) == b"small"
