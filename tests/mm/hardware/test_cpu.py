"""A CPU with protection keys: PROT_EXEC alone may be executed and not read. ``conformance/`` asks real kernels."""

from dataclasses import replace

import pytest

from pagewalk import abi
from pagewalk.errors import SegmentationFault, SystemCallError
from pagewalk.formats import Flag, find_format
from pagewalk.formats.fields import KEY
from pagewalk.formats.level import Level
from pagewalk.mm.machine import Machine

PAGE, BLOCK = 4096, 2 << 20
RW, X = abi.PROT_READ | abi.PROT_WRITE, abi.PROT_EXEC
HUGETLB = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB


@pytest.fixture
def mm():
    return Machine(64 << 20, pku=True, hugetlb={BLOCK: 2}).mm()


def key_at(mm, vaddr):
    """The protection key in the entry that maps an address: bits 59 to 62 (SDM vol. 3A, 5.6.2)."""
    *_, entry = mm.tables.steps(vaddr)
    return entry.value >> 59 & 0xF


def refused(access, *args):
    with pytest.raises(SegmentationFault) as caught:
        access(*args)
    return caught.value.code


def test_a_cpu_without_keys_reads_what_it_may_execute():
    mm = Machine(64 << 20).mm()
    at = mm.mmap(PAGE, X)
    assert (mm.read(at, 1), mm.area_at(at).protection_key) == (b"\0", 0)
    mm.execute(at)


@pytest.mark.parametrize("take", ["mprotect", "mmap"])
def test_execute_only_memory_is_executed_and_not_read(mm, take):
    at = mm.mmap(PAGE, RW if take == "mprotect" else X)
    if take == "mprotect":
        mm.write(at, b"\xc3")
        mm.mprotect(at, PAGE, X)
    assert [refused(mm.read, at + 5, 1), refused(mm.write, at, b"x"), refused(mm.touch, at, 1)] == [4, 4, 4]
    mm.execute(at)
    with pytest.raises(SystemCallError, match="EFAULT"):
        mm.kernel_read(at, 1)
    with pytest.raises(SegmentationFault, match=rf"{at:#x}: protection key 1 makes the mapping execute-only"):
        mm.read(at, 1)


@pytest.mark.parametrize("prot", [abi.PROT_NONE, abi.PROT_READ, RW, RW | X, abi.PROT_READ | X])
def test_other_rights_drop_the_key(mm, prot):
    at = mm.mmap(2 * PAGE, RW)
    mm.write(at, b"abc")
    mm.mprotect(at, 2 * PAGE, X)
    assert (mm.area_at(at).protection_key, key_at(mm, at)) == (1, 1)
    mm.mprotect(at, 2 * PAGE, prot)
    assert (mm.area_at(at).protection_key, key_at(mm, at)) == (0, 0)
    if prot:
        assert mm.read(at, 3) == b"abc"


def test_every_kind_of_page_has_the_key(mm):
    """Zero page, file page, huge page, huge zero page and its split, hugetlb."""
    file = mm.machine.file(contents=b"\xc3" * PAGE)
    small = mm.mmap(PAGE, X), mm.mmap(PAGE, X, abi.MAP_SHARED, file=file)
    written, empty = (mm.mmap(2 * BLOCK, RW) // BLOCK * BLOCK + BLOCK for _ in range(2))
    for at in (written, empty):
        mm.madvise(at, BLOCK, abi.MADV_HUGEPAGE)
    mm.write(written, b"\xc3")
    pool = mm.mmap(BLOCK, X, HUGETLB)
    for at in (written, empty):
        mm.mprotect(at, BLOCK, X)
    for at in (*small, written, empty, pool):
        mm.execute(at)
        assert key_at(mm, at) == 1, hex(at)
        assert Flag.EXEC in mm.tables.translate(at).flags
    mm.mprotect(empty, PAGE, RW)
    mm.mprotect(written, PAGE, RW)
    assert [key_at(mm, at + offset) for at in (written, empty) for offset in (0, PAGE)] == [0, 1, 0, 1]


def test_a_child_has_it_too(mm):
    at = mm.mmap(2 * PAGE, X)
    mm.execute(at)
    child = mm.fork()
    assert [refused(child.read, at + offset, 1) for offset in (0, PAGE)] == [4, 4]
    child.execute(at + PAGE)
    child.mprotect(at, PAGE, RW)
    assert child.read(at, 1) == b"\0"
    assert refused(mm.read, at, 1) == 4


def test_the_key_is_asked_before_rights_and_guards(mm):
    at = mm.mmap(PAGE, X)
    mm.madvise(at, PAGE, abi.MADV_GUARD_INSTALL)
    assert [refused(mm.read, at, 1), refused(mm.execute, at)] == [4, abi.SEGV_MAPERR]


def test_what_is_locked_cannot_be_brought_in(mm):
    at = mm.mmap(PAGE, X)
    with pytest.raises(SystemCallError, match="ENOMEM"):
        mm.mlock(at, PAGE)


@pytest.mark.parametrize("pku", [1, 0, None, "yes"])
def test_pku_is_a_bool(pku):
    with pytest.raises(TypeError, match=f"pku is True or False, not {pku!r}"):
        Machine(1 << 20, pku=pku)


def test_five_levels_have_keys_too():
    mm = Machine(16 << 20, "x86-64-la57", pku=True).mm()
    assert refused(mm.read, mm.mmap(PAGE, X), 1) == 4


def keyless(row):
    return replace(row, fields=tuple(field for field in row.fields if field.name != KEY))


def test_a_format_without_keys_has_none():
    form = find_format("x86-64")
    levels = [
        Level(level.manual, level.shift, level.index_bits, tuple(map(keyless, level.rows)), level.word)
        for level in form.hardware
    ]
    form = replace(form, name="keyless", hardware=tuple(levels))
    with pytest.raises(ValueError, match="keyless has no protection keys: leave pku out"):
        Machine(1 << 20, form, pku=True)
